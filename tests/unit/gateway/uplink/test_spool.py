import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.uplink.spool import MESSAGE_LIMIT_BYTES, ROW_OVERHEAD_BYTES, Entry, Spool

Body = Callable[[Spool], Awaitable[None]]


def with_spool(path: Path, body: Body, limit_bytes: int = 1_000_000) -> None:
    async def run() -> None:
        spool = Spool(path, limit_bytes)
        await spool.open()
        try:
            await body(spool)
        finally:
            await spool.close()

    asyncio.run(run())


def put(spool: Spool, topic: str, payload: bytes, *, retain: bool = False) -> asyncio.Future[bool]:
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    spool.append(topic, payload, future.set_result, retain=retain)
    return future


def on_disk(path: Path) -> list[tuple[str, bytes]]:
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT topic, payload FROM spool ORDER BY row_id").fetchall()
    finally:
        database.close()


def test_a_message_is_on_disk_before_its_sender_is_told(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"

    async def body(spool: Spool) -> None:
        seen: list[tuple[str, bytes]] = []
        told = asyncio.Event()

        def done(stored: bool) -> None:
            assert stored
            seen.extend(on_disk(path))  # another connection sees committed rows only
            told.set()

        spool.append("a", b"1", done, retain=False)
        await told.wait()
        assert seen == [("a", b"1")]

    with_spool(path, body)


def test_messages_come_back_in_order_after_a_restart(tmp_path: Path) -> None:
    async def fill(spool: Spool) -> None:
        futures = [put(spool, f"t/{n % 3}", str(n).encode(), retain=n == 5) for n in range(50)]
        assert all(await asyncio.gather(*futures))

    async def drain(spool: Spool) -> None:
        assert spool.status().messages == 50
        first = await spool.read(0, 20)
        rest = await spool.read(first[-1].row_id, 100)
        entries = [*first, *rest]
        assert [e.payload for e in entries] == [str(n).encode() for n in range(50)]
        assert [e.retain for e in entries].index(True) == 5
        assert await spool.read(entries[-1].row_id, 100) == []

    with_spool(tmp_path / "spool.db", fill)
    with_spool(tmp_path / "spool.db", drain)


def test_what_the_cloud_has_is_deleted_with_the_next_append_at_the_latest(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"

    async def body(spool: Spool) -> None:
        await asyncio.gather(*(put(spool, "t", bytes([n])) for n in range(5)))
        entries = await spool.read(0, 10)
        spool.forget(entries[2].row_id)
        await put(spool, "t", b"new")
        assert [payload for _, payload in on_disk(path)] == [b"\3", b"\4", b"new"]
        assert spool.status().messages == 3
        assert spool.status().bytes == 2 * (2 + ROW_OVERHEAD_BYTES) + 4 + ROW_OVERHEAD_BYTES

    with_spool(path, body)


def test_a_row_id_is_never_given_twice(tmp_path: Path) -> None:
    async def body(spool: Spool) -> None:
        await put(spool, "t", b"1")
        (before,) = await spool.read(0, 10)
        spool.forget(before.row_id)

    async def again(spool: Spool) -> None:
        assert spool.status().messages == 0
        await put(spool, "t", b"2")
        (after,) = await spool.read(0, 10)
        assert after.row_id == 2

    with_spool(tmp_path / "spool.db", body)
    with_spool(tmp_path / "spool.db", again)


def test_a_full_spool_refuses_the_newest_and_counts(tmp_path: Path) -> None:
    async def body(spool: Spool) -> None:
        futures = [put(spool, "t", b"x" * 100) for _ in range(20)]
        outcomes = await asyncio.gather(*futures)
        kept = outcomes.count(True)
        assert outcomes == [True] * kept + [False] * (20 - kept)
        status = spool.status()
        assert (status.messages, status.dropped) == (kept, 20 - kept)
        assert status.bytes <= 1000 < status.bytes + 101 + ROW_OVERHEAD_BYTES
        entries = await spool.read(0, 100)
        spool.forget(entries[-1].row_id)
        await put(spool, "", b"")
        assert await put(spool, "t", b"x" * 100)

    with_spool(tmp_path / "spool.db", body, limit_bytes=1000)


def test_a_message_that_the_cloud_would_not_take_is_refused(tmp_path: Path) -> None:
    async def body(spool: Spool) -> None:
        assert not await put(spool, "t", bytes(MESSAGE_LIMIT_BYTES + 1))
        assert not await put(spool, "x" * 20_000, b"")
        assert await put(spool, "t", bytes(MESSAGE_LIMIT_BYTES))

    with_spool(tmp_path / "spool.db", body, limit_bytes=10 * MESSAGE_LIMIT_BYTES)


def test_a_disk_that_cannot_be_written_is_told_to_the_sender(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"

    async def body(spool: Spool) -> None:
        assert await put(spool, "t", b"1")
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("DROP TABLE spool")
        assert not await put(spool, "t", b"2")
        assert spool.status().dropped == 1
        with pytest.raises(GatewayError, match="cannot read spool"):
            await spool.read(0, 10)
        blocker.close()

    with_spool(path, body)


def test_a_damaged_spool_is_set_aside_and_work_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"not a database" * 100)

    async def body(spool: Spool) -> None:
        assert await put(spool, "t", b"1")

    with_spool(path, body)
    assert (tmp_path / "spool.db.damaged").read_bytes() == b"not a database" * 100


def test_a_spool_that_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.mkdir()

    async def open_it() -> None:
        await Spool(path, 1000).open()

    with pytest.raises(GatewayError, match=r"cannot open spool .*spool\.db"):
        asyncio.run(open_it())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 60)),
            st.tuples(st.just("read"), st.integers(1, 5)),
            st.tuples(st.just("forget"), st.integers(0, 3)),
            st.tuples(st.just("restart"), st.just(0)),
        ),
        max_size=25,
    )
)
def test_the_spool_is_a_bounded_queue(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("spool") / "spool.db"

    async def run() -> None:
        spool, model = Spool(path, 500), list[bytes]()
        read: list[Entry] = []
        await spool.open()
        for number, (verb, value) in enumerate(steps):
            if verb == "append":
                payload = f"{number}:".encode() + b"x" * value
                if await put(spool, "t", payload):
                    model.append(payload)
            elif verb == "read":
                read = await spool.read(0, value)
                assert [e.payload for e in read] == model[:value]
            else:
                if verb == "forget" and value < len(read):
                    spool.forget(read[value].row_id)
                    model = model[value + 1 :]
                await spool.close()
                spool, read = Spool(path, 500), []
                await spool.open()
            status = spool.status()
            assert status.bytes <= 500
            assert status.messages == len(model)
        await spool.close()

    asyncio.run(run())
