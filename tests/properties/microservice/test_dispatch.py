"""Handlers that parked workers run within the call, and the same ones in tasks of the loop."""

import asyncio
import contextvars
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservice import Message, Service
from microservice.deliveries import HandlerQueue
from microservice.dispatch import Dispatcher
from microservice.handling import HandlerLimits, ServiceCounters
from microservice.mqtt.direct_wakeup import DirectWakeup
from microservice.mqtt.retry import RetryPolicy
from microservice.mqtt.wire import Incoming, MessageProperties
from tests.aio import until

CONCURRENCY = 3
left_behind: contextvars.ContextVar[int] = contextvars.ContextVar("left_behind", default=0)


@dataclass(frozen=True)
class Step:
    """One message, and the behaviour of its handler."""

    topic: str
    turns: int  # of the loop that it waits for
    raises: bool = False
    leaves: bool = False  # something in its context variables


@dataclass
class Outcome:
    """All that a publisher and the gateway can see."""

    events: dict[str, list[tuple[int, str]]] = field(default_factory=dict)  # by topic
    acks: list[int] = field(default_factory=list)
    letters: list[bytes] = field(default_factory=list)
    counters: ServiceCounters = field(default_factory=ServiceCounters)
    seen: set[int] = field(default_factory=set)  # of the context variable
    in_task: set[bool] = field(default_factory=set)  # a handler had a current task

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        self.acks += packet_ids

    async def publish_dead_letter(self, payload: bytes, _: MessageProperties) -> None:
        await asyncio.sleep(0)
        self.letters.append(payload)

    def give_up(self, why: str) -> None:
        raise AssertionError(why)


def make_service(reads: Sequence[Sequence[Step]], outcome: Outcome) -> Service:
    service, steps = Service(), [step for read in reads for step in read]

    @service.on("#")
    async def handle(message: Message) -> None:
        number = int(message.payload)
        step, events = steps[number - 1], outcome.events.setdefault(message.topic, [])
        outcome.seen.add(left_behind.get())
        outcome.in_task.add(asyncio.current_task() is not None)
        events.append((number, "begins"))
        if step.leaves:
            left_behind.set(number)
        for _ in range(step.turns):
            async with asyncio.timeout(60):  # it needs a current task
                await asyncio.sleep(0)
        if step.raises:
            raise ValueError("no")
        events.append((number, "ends"))

    return service


def make_dispatcher(reads: Sequence[Sequence[Step]], outcome: Outcome) -> Dispatcher:
    return Dispatcher(
        make_service(reads, outcome).triggers.messages,
        HandlerQueue(CONCURRENCY, 100),
        outcome.counters,
        HandlerLimits(60.0, 64),
        RetryPolicy(2, 0, 0),
        Path(__file__).parent,
        outcome,
    )


async def play(reads: Sequence[Sequence[Step]], *, in_place: bool) -> Outcome:
    """Bring messages a read at a time, as a protocol of the loop does, or from a task."""
    outcome, loop = Outcome(), asyncio.get_running_loop()
    dispatcher = make_dispatcher(reads, outcome)
    number = 0

    def bring(read: Sequence[Step]) -> None:
        nonlocal number
        for step in read:
            number += 1
            dispatcher.arrived(Incoming(step.topic, b"%d" % number, 1, False, False, number))
        dispatcher.start()

    for read in reads:
        if in_place:
            loop.call_soon(bring, read)
        else:
            bring(read)
        await asyncio.sleep(0)
    await until(lambda: len(outcome.acks) == sum(map(len, reads)))
    dispatcher.close()
    return outcome


steps = st.builds(
    Step, st.sampled_from("abcd"), st.integers(0, 3), raises=st.booleans(), leaves=st.booleans()
)


@given(st.lists(st.lists(steps, min_size=1, max_size=5), min_size=1, max_size=8))
def test_parked_workers_do_what_new_tasks_do(reads: list[list[Step]]) -> None:
    direct = asyncio.run(play(reads, in_place=True))
    tasks = asyncio.run(play(reads, in_place=False))
    assert direct.events == tasks.events
    assert direct.acks == tasks.acks == list(range(1, len(direct.acks) + 1))
    assert sorted(direct.letters) == sorted(tasks.letters)
    assert direct.counters == tasks.counters
    assert direct.seen == tasks.seen == {0}  # no message sees what another has left
    assert direct.in_task == {True}


def test_a_parked_worker_runs_the_handler_within_the_call() -> None:
    async def main() -> None:
        outcome = Outcome()
        reads = [[Step("a", 0)], [Step("b", 0)]]
        dispatcher = make_dispatcher(reads, outcome)

        def bring(number: int, topic: str) -> None:
            dispatcher.arrived(Incoming(topic, b"%d" % number, 1, False, False, number))
            dispatcher.start()
            at_once.append(list(outcome.acks))

        at_once: list[list[int]] = []
        for number, topic in ((1, "a"), (2, "b")):
            asyncio.get_running_loop().call_soon(bring, number, topic)
            await until(lambda number=number: len(outcome.acks) == number)  # type: ignore[misc]
        assert at_once == [[], [1, 2]]  # the first message needs a new task
        dispatcher.close()

    asyncio.run(main())


def test_a_task_goes_on_within_the_call_and_can_be_cancelled() -> None:
    async def main() -> None:
        loop, got = asyncio.get_running_loop(), []
        wakeup: DirectWakeup[int] = DirectWakeup(loop)

        async def take() -> None:
            while True:
                got.append(await wakeup)

        def bring() -> None:
            wakeup.wake(1)
            wakeup.wake(2)
            assert got == [1, 2]  # before the loop goes on
            got.append(3)

        task = asyncio.create_task(take())
        await asyncio.sleep(0)
        loop.call_soon(bring)
        await asyncio.sleep(0)
        assert got == [1, 2, 3]
        task.cancel()
        task.cancel()  # one that waits no longer
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
