"""The state of a service: JSON and bytes, off the event loop."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from microservice.errors import DamagedStoreError, FullStoreError, StoreError
from microservice.store.database import Store
from microservice.store.state import PAGE, State, StateTransaction


def with_state(path: Path, work: Callable[[State], Awaitable[None]], limit_mib: int = 1) -> None:
    async def run() -> None:
        state = State()
        state.attach(path / "store.db", limit_mib, lambda _: None)
        await state.check()
        try:
            await work(state)
        finally:
            await state.close()

    asyncio.run(run())


def test_values_are_json_or_bytes_and_come_back_in_the_next_process(tmp_path: Path) -> None:
    values = {"a": {"x": [1, 2.5, None, "é\0"]}, "b": b"\x00\xff", "c": 0, "d": False, "e": "text"}

    async def write(state: State) -> None:
        for key, value in values.items():
            await state.set(key, value)
        await state.set("f", None)

    async def read(state: State) -> None:
        assert {key: await state.get(key) for key in values} == values
        assert await state.get("f", "default") is None, "null is a value"
        assert await state.get("g", "default") == "default"
        assert await state.keys() == ["a", "b", "c", "d", "e", "f"]
        assert [key async for key, _ in state.items("b")] == ["b"]

    with_state(tmp_path, write)
    with_state(tmp_path, read)


def test_many_entries_are_read_page_by_page_and_found_by_tag(tmp_path: Path) -> None:
    count = 2 * PAGE + 1

    async def work(state: State) -> None:
        def fill(inner: StateTransaction) -> None:
            for number in range(count):
                inner.set(f"n/{number:05}", number, tag="even" if number % 2 == 0 else "odd")
            inner.set("other", 1)

        await state.transaction(fill)
        assert [value async for _, value in state.items("n/")] == list(range(count))
        assert len(await state.keys()) == count + 1
        assert await state.keys(tag="odd") == [f"n/{n:05}" for n in range(1, count, 2)]
        assert await state.delete_tag("odd") == PAGE
        assert await state.delete("other")
        assert not await state.delete("other")
        await state.clear()
        assert await state.keys() == []

    with_state(tmp_path, work)


def test_updates_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    async def work(state: State) -> None:
        def one_more(count: int) -> int:
            return count + 1

        results = await asyncio.gather(*(state.update("n", one_more, 0) for _ in range(100)))
        assert sorted(results) == list(range(1, 101))
        assert await state.get("n") == 100

    with_state(tmp_path, work)


def test_a_transaction_that_raises_changes_nothing(tmp_path: Path) -> None:
    async def work(state: State) -> None:
        def fail(inner: StateTransaction) -> None:
            inner.set("a", 2)
            assert inner.get("a") == 2
            raise KeyError("x")

        await state.set("a", 1)
        with pytest.raises(KeyError):
            await state.transaction(fail)
        assert await state.get("a") == 1

    with_state(tmp_path, work)


def test_what_is_neither_json_nor_bytes_is_refused(tmp_path: Path) -> None:
    async def work(state: State) -> None:
        for value in (object(), float("nan"), {1, 2}, "\ud800"):
            with pytest.raises(StoreError, match="cannot store 'a'"):
                await state.set("a", value)
        with pytest.raises(FullStoreError):
            await state.set("a", bytes(2_000_000))
        assert await state.get("a") is None

    with_state(tmp_path, work)


def test_a_state_needs_a_running_service() -> None:
    async def run() -> None:
        state = State()
        await state.check()
        with pytest.raises(StoreError, match="the service is not running"):
            await state.get("a")
        await state.close()

    asyncio.run(run())


# case S15
def test_damage_is_reported_to_the_runtime(tmp_path: Path) -> None:
    async def run() -> None:
        path, reported = tmp_path / "store.db", list[DamagedStoreError]()
        path.write_bytes(b"")
        state = State()
        state.attach(path, 1, reported.append)
        with pytest.raises(DamagedStoreError, match="is empty"):
            await state.check()
        with pytest.raises(DamagedStoreError):
            await state.get("a")
        assert len(reported) == 2
        await state.close()

    asyncio.run(run())


def test_a_slow_disk_does_not_stop_the_event_loop(tmp_path: Path) -> None:
    async def work(state: State) -> None:
        await state.set("a", 1)
        go_on = threading.Event()
        waiting = asyncio.ensure_future(state.transaction(lambda _: go_on.wait(60)))
        following = asyncio.ensure_future(state.get("a"))
        await asyncio.sleep(0)
        assert not waiting.done()
        go_on.set()
        assert await waiting
        assert await following == 1

    with_state(tmp_path, work)


def test_the_file_of_a_state_is_a_store(tmp_path: Path) -> None:
    async def work(state: State) -> None:
        await state.set("a", {"x": 1}, tag="t")
        await state.set_last_run("job", 5.0)
        assert await state.last_run("job") == 5.0

    with_state(tmp_path, work)
    store = Store(tmp_path / "store.db", 1)
    assert store.items(tag="t")[0].value == '{"x": 1}'
    store.close()


def test_a_service_that_stores_nothing_loads_no_sqlite() -> None:
    code = "import sys, microservice.lifecycle; print(*{'sqlite3', 'cronsim'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
