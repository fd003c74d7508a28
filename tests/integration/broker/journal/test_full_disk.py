"""A full disk refuses the sender, takes removals, and recovers without a person."""

import asyncio
from pathlib import Path

from broker.journal import Journal, JournalLimits
from broker.journal.records import Acknowledged, Opened, QueueEntry, Record, Stored
from tests.aio import until
from tests.file_systems import small_file_system
from tests.integration.broker.journal.simdisk import SimDisk
from tests.integration.broker.journal.test_journal import store

LIMITS = JournalLimits(segment_bytes=64 * 1024, interval_s=0.0, lazy_s=0.001, retry_s=0.02)
ROOM = 1024 * 1024
PAYLOAD = b"0123456789" * 100


async def fill_and_drain(journal: Journal) -> tuple[set[int], int]:
    """Fill the disk, drain it, fill it again; return what is stored and how much was refused."""
    journal.open()
    journal.start()
    assert await store(journal, [Opened(1, "c", "o", (), 5, 60.0)])
    number, stored, refused = 1, set[int](), 0
    for _ in range(3):
        while True:
            number += 1
            if not await store(
                journal, [Stored(number, "t", PAYLOAD, entries=(QueueEntry(1, 1),))]
            ):
                break
            stored.add(number)
        refused += 1
        assert journal.status().is_full
        assert len(stored) > 500, "most of the room is used"
        kept = set(sorted(stored)[-10:])
        for message_id in sorted(stored - kept):
            journal.append([Acknowledged(1, (message_id,))])
        stored = kept
        await until(lambda: not journal.status().queued_bytes, "removals are written")
        await asyncio.sleep(LIMITS.retry_s)
    await journal.close()
    return stored, refused


def test_a_full_file_system(tmp_path: Path) -> None:
    with small_file_system(tmp_path, ROOM):
        stored, refused = asyncio.run(fill_and_drain(Journal(tmp_path, limits=LIMITS)))
        again = Journal(tmp_path, limits=LIMITS)
        image, report = again.open()
        asyncio.run(again.close())
    assert refused == 3
    assert set(image.messages) == stored
    assert report.is_clean


def test_a_full_disk_at_every_cut() -> None:
    disk = SimDisk(room=ROOM)
    stored, _ = asyncio.run(fill_and_drain(Journal(Path("j"), disk=disk, limits=LIMITS)))
    image, _ = Journal(Path("j"), disk=SimDisk.of(disk.kill()), limits=LIMITS).open()
    assert set(image.messages) == stored


def test_starts_on_a_full_disk_and_goes_on_when_there_is_room() -> None:
    disk = SimDisk(room=0)

    async def run() -> None:
        journal = Journal(Path("j"), disk=disk, limits=LIMITS)
        journal.open()
        journal.start()
        assert not await store(journal, [Opened(1, "c", "o", (), 5, 60.0)])
        disk.room = ROOM
        await asyncio.sleep(LIMITS.retry_s)
        assert await store(journal, [Opened(1, "c", "o", (), 5, 60.0)])
        await until(lambda: not journal.status().is_full, "there is room")
        await journal.close()

    asyncio.run(run())


def test_what_must_be_kept_is_answered_when_there_is_room_again() -> None:
    disk = SimDisk(room=0)

    async def run() -> None:
        journal = Journal(Path("j"), disk=disk, limits=LIMITS)
        journal.open()
        opened: list[Record] = [Opened(1, "c", "o", (), 5, 60.0)]
        early: list[bool] = []
        journal.append(opened, early.append, must=True)  # before the start, too
        journal.start()
        answers: list[bool] = []
        journal.append(opened, answers.append, must=True)
        assert not await store(journal, opened)
        assert not answers
        disk.room = ROOM
        await until(lambda: early == answers == [True], "written")
        await journal.close()

    asyncio.run(run())
    image, _ = Journal(Path("j"), disk=SimDisk.of(disk.kill()), limits=LIMITS).open()
    assert set(image.sessions) == {1}
