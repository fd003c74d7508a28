"""An eager task behaves as one of asyncio, but that its first step has run already."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from microservice.eager_task import start_task

Start = Callable[[Coroutine[Any, Any, None], Context], asyncio.Task[None]]
place: ContextVar[str] = ContextVar("place", default="outside")


def create_task(coroutine: Coroutine[Any, Any, None], context: Context) -> asyncio.Task[None]:
    """The readable way, which the eager one must equal."""
    return asyncio.get_running_loop().create_task(coroutine, context=context)


async def in_callback(act: Callable[[], None]) -> None:
    """Call a function as the loop calls a reader: in no task."""
    done = asyncio.Event()

    def call() -> None:
        act()
        done.set()

    asyncio.get_running_loop().call_soon(call)
    await done.wait()


async def outcome(
    start: Start, body: Callable[[list[Any]], Awaitable[None]], *, cancel: bool = False
) -> list[Any]:
    """Return what a coroutine notes, its result included."""
    notes: list[Any] = []
    tasks: list[asyncio.Task[None]] = []

    async def run() -> None:
        place.set("inside")
        await body(notes)
        notes.append(place.get())

    def act() -> None:
        tasks.append(start(run(), copy_context()))
        if cancel:
            tasks[0].cancel()

    await in_callback(act)
    try:
        await tasks[0]
    except BaseException as exc:  # noqa: BLE001
        notes.append(repr(exc))
    notes += [tasks[0].cancelled(), tasks[0].cancelling(), place.get()]
    return notes


async def returns(notes: list[Any]) -> None:
    task = asyncio.current_task()
    notes.append(task is not None and not task.done())


async def raises(_: list[Any]) -> None:
    raise ValueError("wrong")


async def yields(notes: list[Any]) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
        notes.append(place.get())


async def sleeps(notes: list[Any]) -> None:
    before = asyncio.current_task()
    await asyncio.sleep(0.001)
    notes.append(before is asyncio.current_task())


async def is_timed_out(notes: list[Any]) -> None:
    try:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
    except TimeoutError:
        notes.append("timeout")


async def groups(notes: list[Any]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))
    notes.append("group")


async def cancels_itself(notes: list[Any]) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel("own")
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        notes.append("caught")
        raise


async def survives(notes: list[Any]) -> None:
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        notes.append("survived")


async def awaits_what_is_done(notes: list[Any]) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 5)
    notes.append(await future)


async def awaits_an_error(_: list[Any]) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, KeyError("it"))
    await future


@pytest.mark.parametrize(
    "body",
    [returns, raises, yields, sleeps, is_timed_out, groups, cancels_itself, survives,
     awaits_what_is_done, awaits_an_error],
)  # fmt: skip
def test_an_eager_task_has_the_outcome_of_one_of_asyncio(
    body: Callable[[list[Any]], Awaitable[None]],
) -> None:
    eager, plain = (asyncio.run(outcome(each, body)) for each in (start_task, create_task))
    assert eager == plain


@pytest.mark.parametrize("body", [sleeps, survives, is_timed_out, groups])
def test_a_cancellation_before_the_loop_goes_on_reaches_the_place_that_waits(
    body: Callable[[list[Any]], Awaitable[None]],
) -> None:
    found = asyncio.run(outcome(start_task, body, cancel=True))
    if body is survives:
        assert found[:2] == ["survived", "inside"]
    else:
        assert found[0] == "CancelledError()"
        assert found[1] is True


def test_the_first_step_runs_in_the_call() -> None:
    seen: list[str] = []

    async def run() -> None:
        seen.append("first")
        await asyncio.sleep(0)
        seen.append("second")

    def act() -> None:
        start_task(run(), copy_context())
        assert seen == ["first"]
        assert asyncio.current_task() is None

    async def main() -> None:
        await in_callback(act)
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert seen == ["first", "second"]


def test_within_a_task_it_waits_for_the_loop() -> None:
    seen: list[str] = []

    async def run() -> None:
        seen.append("first")

    async def main() -> None:
        task = start_task(run(), copy_context())
        assert not seen
        await task

    asyncio.run(main())
    assert seen == ["first"]
