"""The journal on real files, as the broker uses it."""

import asyncio
import errno
import shutil
from pathlib import Path

import pytest

from broker.journal import Journal, JournalError, JournalLimits
from broker.journal.records import Acknowledged, Cleared, Opened, QueueEntry, Record, Stored
from tests.aio import until
from tests.integration.broker.journal.model import History, describe
from tests.integration.broker.journal.simdisk import SimDisk

QUICK = JournalLimits(segment_bytes=64 * 1024, interval_s=0.0, lazy_s=0.01, retry_s=0.01)
OPENED = Opened(1, "c", "o", (), 5, 60.0)


async def store(journal: Journal, records: list[Record]) -> bool:
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    journal.append(records, answer.set_result)
    return await asyncio.wait_for(answer, 10)


def message(message_id: int, payload: bytes = b"", *, retained: bool = False) -> Stored:
    entries = () if retained else (QueueEntry(1, 1),)
    return Stored(message_id, "t", payload, is_retained=retained, entries=entries)


def test_what_was_stored_is_there_again(tmp_path: Path) -> None:
    history = History(3, size=2000)

    async def run(groups: int) -> None:
        journal = Journal(tmp_path / "new", limits=QUICK)
        image, report = journal.open()
        assert describe(image) == describe(history.image)
        assert report.is_clean
        assert not report.torn
        journal.start()
        for _ in range(groups):
            journal.append(history.group()[0])
        await journal.close()

    for _ in range(5):
        asyncio.run(run(1000))
    files = sum(each.stat().st_size for each in (tmp_path / "new").iterdir())
    assert files < 12 * QUICK.segment_bytes, "removed messages must give their room back"


def test_zeros_at_the_end_are_not_taken_for_unused_room(tmp_path: Path) -> None:
    limits = JournalLimits(segment_bytes=1024 * 1024)

    async def run() -> None:
        journal = Journal(tmp_path / "j", limits=limits)
        journal.open()
        journal.start()
        assert await store(journal, [OPENED, message(2, bytes(100_000), retained=True)])
        shutil.copytree(tmp_path / "j", tmp_path / "crashed")
        await journal.close()

    asyncio.run(run())
    for _ in range(3):
        journal = Journal(tmp_path / "crashed", limits=limits)
        image, _ = journal.open()
        assert len((image.bodies or {})[2].payload) == 100_000
        asyncio.run(journal.close())


def test_what_nobody_waits_for_is_written_soon(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, limits=QUICK)
        journal.open()
        journal.start()
        journal.append([OPENED])
        await until(lambda: not journal.status().queued_bytes, "written")
        assert journal.status().commits == 1
        await journal.close()

    asyncio.run(run())


def test_one_wake_up_is_one_commit(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, limits=QUICK)
        journal.open()
        journal.start()
        answers: list[bool] = []
        journal.append([OPENED])
        for number in range(2, 100):
            journal.append([message(number)], answers.append)
        await until(lambda: len(answers) == 98, "stored")
        assert all(answers)
        assert journal.status().commits == 1
        await journal.close()

    asyncio.run(run())


def test_what_comes_at_once_shares_checksums_but_not_too_many_do(tmp_path: Path) -> None:
    limits = JournalLimits(group_bytes=1_000)

    async def run() -> None:
        journal = Journal(tmp_path, limits=limits)
        journal.open()
        journal.start()
        journal.append([OPENED])
        answers: list[bool] = []
        for number in range(2, 102):
            journal.append([message(number, bytes(100))], answers.append)
        await until(lambda: len(answers) == 100, "stored")
        await journal.close()

    asyncio.run(run())
    image, report = Journal(tmp_path, limits=limits).open()
    assert len(image.messages) == 100
    assert 10 < report.groups < 50


def test_memory_needs_no_directory() -> None:
    async def run() -> None:
        journal = Journal(Path("/nowhere"), "memory")
        assert not journal.open()[0].sessions
        journal.start()
        assert await store(journal, [OPENED])
        await journal.close()

    asyncio.run(run())


def test_a_directory_has_one_journal(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.open()
    with pytest.raises(JournalError, match="another process"):
        Journal(tmp_path).open()
    asyncio.run(first.close())
    second = Journal(tmp_path)
    second.open()
    asyncio.run(second.close())


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot keep data in"):
        Journal(tmp_path / "file" / "below").open()


def test_more_than_fits_the_queue_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, limits=JournalLimits(queued_bytes=10_000))
        journal.open()
        journal.start()
        answers: list[bool] = []
        for number in range(2, 12):
            journal.append([message(number, bytes(1500))], answers.append)
        journal.append([OPENED])  # nobody can be refused
        await until(lambda: len(answers) == 10, "answered")
        assert sorted(answers) == [False] * 4 + [True] * 6
        assert journal.status().refused == 4
        assert await store(journal, [message(20, bytes(1500))])
        await journal.close()

    asyncio.run(run())


def test_a_record_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, limits=QUICK)
        journal.open()
        journal.start()
        assert await store(journal, [OPENED, message(2, bytes(300_000))])
        assert await store(journal, [message(3, b"small")])
        await journal.close()

    asyncio.run(run())
    image, _ = Journal(tmp_path, limits=QUICK).open()
    assert sorted(image.messages) == [2, 3]


def test_an_answer_that_fails_keeps_no_other_waiting(tmp_path: Path) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        failures: list[object] = []
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        journal = Journal(tmp_path, limits=QUICK)
        journal.open()
        journal.start()
        answers: list[bool] = []

        def fail(ok: bool) -> None:
            raise ValueError(ok)

        journal.append([OPENED], fail)
        journal.append([message(2)], answers.append)
        await until(lambda: answers == [True], "the second is answered")
        assert isinstance(failures[0], ValueError)
        await journal.close()

    asyncio.run(run())


@pytest.mark.parametrize("operation", ["sync", "write", "create", "sync_directory"])
def test_after_an_error_of_the_disk_it_goes_on(operation: str) -> None:
    disk = SimDisk()

    async def run() -> None:
        journal = Journal(Path("j"), disk=disk, limits=QUICK)
        journal.open()
        journal.start()
        if operation in {"sync", "write"}:
            assert await store(journal, [OPENED, message(2)])
        disk.fail[operation] = OSError(errno.EIO, "input/output error")
        assert not await store(journal, [message(3, b"refused")])
        assert journal.status().is_full
        journal.append([OPENED, Acknowledged(1, (2,))])
        await asyncio.sleep(0.03)
        assert journal.status().queued_bytes
        disk.fail.clear()
        await until(lambda: not journal.status().queued_bytes, "what was owed is written")
        assert await store(journal, [message(4)])
        await journal.close()

    asyncio.run(run())
    image, report = Journal(Path("j"), disk=SimDisk.of(disk.kill()), limits=QUICK).open()
    assert list(image.messages) == [4]
    assert report.is_clean


def test_what_is_superfluous_goes_even_while_nothing_can_be_written() -> None:
    disk = SimDisk()

    async def run() -> None:
        journal = Journal(Path("j"), disk=disk, limits=QUICK)
        journal.open()
        journal.start()
        for number in range(1, 200):
            stored = Stored(number, f"r/{number}", bytes(2000), is_retained=True)
            assert await store(journal, [stored])
        before = journal.status().segments
        assert before > 5
        disk.fail["write"] = OSError(errno.ENOSPC, "full")
        for number in range(1, 200):
            journal.append([Cleared(f"r/{number}")])
        await until(lambda: journal.status().segments <= 2, "segments are removed")
        assert journal.status().queued_bytes
        disk.fail.clear()
        await journal.close()

    asyncio.run(run())
    image, _ = Journal(Path("j"), disk=SimDisk.of(disk.kill()), limits=QUICK).open()
    assert not image.retained


def test_deleting_much_costs_little(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, limits=QUICK)
        journal.open()
        journal.start()
        assert await store(journal, [OPENED])
        for start in range(2, 20_002, 1000):
            batch: list[Record] = [
                message(number, bytes(50)) for number in range(start, start + 1000)
            ]
            assert await store(journal, batch)
        before = journal.status()
        assert await store(journal, [Acknowledged(1, tuple(range(2, 20_002)))])
        await until(lambda: journal.status().segments < 8, "segments are removed")
        written = journal.status().written_bytes - before.written_bytes
        assert written < before.written_bytes / 8
        await journal.close()

    asyncio.run(run())


def test_copies_stay_within_what_is_appended(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, limits=QUICK)
        journal.open()
        journal.start()
        for number in range(500):  # stays for ever, 0.5 MB
            journal.append([Stored(number, f"r/{number}", bytes(1000), is_retained=True)])
        appended = 0
        for number in range(1000, 5000):
            records: list[Record] = [Stored(number, "x", bytes(1000), is_retained=True)]
            appended += 1100
            if number % 2:
                journal.append([*records, Cleared("x")])
            else:
                await store(journal, records)
        written = journal.status().written_bytes
        assert written < 2.5 * (appended + 550_000), f"{written / appended:.2f}"
        await until(lambda: journal.status().log_bytes < 2_000_000, "cleaned")
        await journal.close()

    asyncio.run(run())
    image, _ = Journal(tmp_path, limits=QUICK).open()
    assert len(image.retained) in {500, 501}
