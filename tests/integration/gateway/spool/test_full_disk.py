"""The spool on a disk that fills up, by the spool itself or by others, and heals by itself."""

import asyncio
from pathlib import Path

import pytest

from gateway.spool.spool import Spool
from gateway.spool.values import WhenFull
from tests.file_systems import small_file_system

ROOM = 12 * 1024 * 1024
PAYLOAD = bytes(10_000)


async def put(spool: Spool, payload: bytes) -> bool:
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    spool.append("t", payload, done.set_result, retain=False)
    return await done


async def fill(spool: Spool) -> int:
    """Store until the disk takes no more; return how many were stored."""
    count = 0
    while await put(spool, count.to_bytes(4, "big") + PAYLOAD):
        count += 1
        assert count < 5_000, "the disk never fills"
    return count


async def deliver(spool: Spool) -> list[int]:
    """Read all and forget it, as the uplink does; return the numbers read."""
    numbers, cursor = list[int](), 0
    while entries := await spool.read(cursor, 64):
        numbers += [int.from_bytes(entry.payload[:4], "big") for entry in entries]
        cursor = entries[-1].row_id
        spool.forget(cursor)
    return numbers


async def until_empty(spool: Spool) -> None:
    async with asyncio.timeout(10):
        while spool.status().messages:  # noqa: ASYNC110  # it has no event for it
            await asyncio.sleep(0.01)


def eat(folder: Path) -> Path:
    """Write a file until no byte is left."""
    path = folder / "others"
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return path


# case G4
@pytest.mark.parametrize("others", [False, True])
def test_what_was_delivered_is_deleted_on_a_full_disk(tmp_path: Path, *, others: bool) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "spool.db", 64 * 1024 * 1024)
        await spool.open()
        stored = await fill(spool)
        assert stored > 200, "most of the room is used"
        assert spool.status().error
        assert spool.status().full
        if others:
            eat(tmp_path)
        assert await deliver(spool) == list(range(stored))
        await until_empty(spool)
        for number in range(100):  # room again, without anybody's help
            assert await put(spool, number.to_bytes(4, "big") + PAYLOAD), number
        assert not spool.status().error
        assert not spool.status().full
        assert await deliver(spool) == list(range(100))
        await spool.close()

    with small_file_system(tmp_path, ROOM):
        asyncio.run(run())


# case G4
def test_a_spool_is_opened_on_a_disk_that_is_full_to_the_last_byte(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "spool.db", 64 * 1024 * 1024)
        await spool.open()
        assert await put(spool, b"kept" + PAYLOAD)
        await spool.close()
        others = eat(tmp_path)
        spool = Spool(tmp_path / "spool.db", 64 * 1024 * 1024)
        await spool.open()
        (entry,) = await spool.read(0, 10)
        assert entry.payload[:4] == b"kept"
        spool.forget(entry.row_id)
        await until_empty(spool)
        others.unlink()
        assert await put(spool, b"more" + PAYLOAD)
        await spool.close()

    with small_file_system(tmp_path, ROOM):
        asyncio.run(run())


# case G4
def test_the_oldest_make_room_on_a_full_disk_where_the_rule_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        spool = Spool(tmp_path / "spool.db", 64 * 1024 * 1024, WhenFull.DROP_OLDEST)
        await spool.open()
        for number in range(1_500):
            assert await put(spool, number.to_bytes(4, "big") + PAYLOAD)
        numbers = await deliver(spool)
        assert len(numbers) > 200
        assert numbers[-1] == 1_499, "the newest is kept"
        assert spool.status().dropped_oldest + len(numbers) == 1_500
        await spool.close()

    with small_file_system(tmp_path, ROOM):
        asyncio.run(run())
