import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.spool.spool import Spool
from gateway.spool.values import ROW_OVERHEAD_BYTES, SpoolEntry, WhenFull

Body = Callable[[Spool], Awaitable[None]]


def with_spool(
    path: Path, body: Body, limit_bytes: int = 1_000_000, rule: WhenFull = WhenFull.REFUSE
) -> None:
    async def run() -> None:
        spool = Spool(path, limit_bytes, rule)
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


# case G2
def test_a_full_spool_that_drops_the_newest_acknowledges_it_and_counts(tmp_path: Path) -> None:
    async def body(spool: Spool) -> None:
        assert all(await asyncio.gather(*(put(spool, "t", b"x" * 100) for _ in range(20))))
        status = spool.status()
        assert status.full
        assert status.refused == status.dropped == 20 - status.messages > 0
        assert (await spool.read(0, 1))[0].row_id == 1

    with_spool(tmp_path / "spool.db", body, 1000, WhenFull.DROP_NEWEST)


# case G2
def test_a_full_spool_that_drops_the_oldest_keeps_the_newest(tmp_path: Path) -> None:
    async def body(spool: Spool) -> None:
        for number in range(20):
            assert await put(spool, "t", b"%03d" % number + b"x" * 97)
            assert spool.status().bytes <= 1000
        kept = [entry.payload[:3] for entry in await spool.read(0, 100)]
        assert kept == [b"%03d" % number for number in range(20 - len(kept), 20)]
        status = spool.status()
        assert (status.dropped_oldest, status.dropped) == (20 - len(kept), 20 - len(kept))
        assert status.messages == len(kept) >= 5
        # a burst beyond the limit: what was acknowledged and could not be kept is counted
        assert any(await asyncio.gather(*(put(spool, "t", b"y" * 100) for _ in range(50))))
        after = spool.status()
        assert after.dropped + after.messages == 70
        assert after.bytes <= 1000

    with_spool(tmp_path / "spool.db", body, 1000, WhenFull.DROP_OLDEST)


# case G1
def test_what_is_set_aside_survives_and_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"

    async def body(spool: Spool) -> None:
        await asyncio.gather(*(put(spool, f"t/{n}", bytes([n])) for n in range(3)))
        spool.set_aside(2, "t/1", "refused by the cloud: not authorized")
        spool.put_aside("deep", b"1", "33 topic levels, the cloud takes 32", retain=False)
        assert [entry.row_id for entry in await spool.read(0, 10)] == [1, 3]

    async def again(spool: Spool) -> None:
        status = spool.status()
        assert (status.messages, status.set_aside, status.set_aside_total) == (2, 2, 0)
        assert [(a.topic, a.reason) for a in status.latest] == [
            ("deep", "33 topic levels, the cloud takes 32"),
            ("t/1", "refused by the cloud: not authorized"),
        ]
        for number in range(2000):
            spool.put_aside("x", b"z" * 1000, f"reason {number}", retain=False)
            if number % 50 == 49:
                await spool.read(0, 1)  # it waits for the thread
        await asyncio.sleep(0)
        assert spool.status().set_aside_total == 2000
        spool.put_aside("huge", bytes(1_000_000), "too large", retain=False)
        await spool.read(0, 1)
        await asyncio.sleep(0)
        assert 100 < spool.status().set_aside < 300
        assert spool.status().latest[0].topic == "huge"
        assert spool.status().latest[0].size > 1_000_000

    with_spool(path, body)
    with_spool(path, again)
    database = sqlite3.connect(path)
    (kept,) = database.execute("SELECT sum(length(payload)) FROM set_aside").fetchone()
    database.close()
    assert kept <= 250_000


def test_a_message_that_sqlite_refuses_takes_no_other_along(tmp_path: Path) -> None:
    async def body(spool: Spool) -> None:
        bad = "lone surrogate \ud800"
        puts = [put(spool, "a", b"1"), put(spool, bad, b""), put(spool, "b", b"2")]
        assert await asyncio.gather(*puts) == [True, False, True]
        assert [entry.topic for entry in await spool.read(0, 10)] == ["a", "b"]
        assert await put(spool, "c", b"3")

    with_spool(tmp_path / "spool.db", body)


def test_no_more_is_read_at_once_than_asked_for(tmp_path: Path) -> None:
    async def body(spool: Spool) -> None:
        await asyncio.gather(*(put(spool, "t", bytes(1000)) for _ in range(10)))
        assert len(await spool.read(0, 10, 3500)) == 3
        assert len(await spool.read(0, 10, 1)) == 1

    with_spool(tmp_path / "spool.db", body)


OLD = """
CREATE TABLE spool (
    row_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    topic   TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain  INTEGER NOT NULL,
    size    INTEGER NOT NULL
);
INSERT INTO spool VALUES (7, 'a', x'31', 1, 34), (8, 'b', x'32', 0, 34);
"""


def test_a_spool_of_version_0_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    old = sqlite3.connect(path)
    old.execute("PRAGMA journal_mode = WAL")
    old.executescript(OLD)
    old.close()

    async def body(spool: Spool) -> None:
        assert (spool.status().messages, spool.status().bytes) == (2, 68)
        assert await spool.read(0, 10) == [
            SpoolEntry(7, "a", b"1", True),
            SpoolEntry(8, "b", b"2", False),
        ]
        spool.set_aside(7, "a", "why")
        assert await put(spool, "c", b"3")
        assert [entry.row_id for entry in await spool.read(0, 10)] == [8, 9]

    with_spool(path, body)
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    database.close()


def test_a_spool_of_a_newer_gateway_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()

    async def open_it() -> None:
        await Spool(path, 1000).open()

    with pytest.raises(GatewayError, match="newer gateway"):
        asyncio.run(open_it())


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


def test_a_row_of_wrong_types_or_bits_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"

    async def nothing(spool: Spool) -> None:
        assert await put(spool, "a", b"1")

    with_spool(path, nothing)
    database = sqlite3.connect(path)
    database.execute("INSERT INTO spool VALUES (2, CAST(x'ff41' AS TEXT), 5, 0, 34)")
    database.execute("INSERT INTO spool VALUES (3, 'b', x'32', 0, 34)")
    database.commit()
    database.close()

    async def drain(spool: Spool) -> None:
        entries = await spool.read(0, 10)
        assert [(e.topic, e.payload) for e in entries] == [
            ("a", b"1"), ("\ufffdA", b"5"), ("b", b"2"),
        ]  # fmt: skip

    with_spool(path, drain)


@pytest.mark.parametrize("size", [300, 20_000])  # rows on pages, and on chains of pages
def test_a_damaged_page_costs_its_own_messages_only(tmp_path: Path, size: int) -> None:
    path = tmp_path / "spool.db"

    async def fill(spool: Spool) -> None:
        rows = [b"%d:" % n + bytes(size) for n in range(60)]
        assert all(await asyncio.gather(*(put(spool, "t", row) for row in rows)))

    with_spool(path, fill, 10_000_000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = bytes(4096)
    path.write_bytes(content)

    async def drain(spool: Spool) -> None:
        entries = await spool.read(0, 100)
        assert 40 <= len(entries) < 60 or size > 4096
        assert len(entries) >= 40
        whole = [e for e in entries if len(e.payload.partition(b":")[2]) == size]
        assert whole == entries
        assert await put(spool, "t", b"new")
        (new,) = (await spool.read(entries[-1].row_id, 10))[-1:]
        assert (new.row_id, new.payload) == (61, b"new")

    with_spool(path, drain, 10_000_000)


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
        read: list[SpoolEntry] = []
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
