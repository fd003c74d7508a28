"""Whatever is done to the files, the journal starts, says what is missing and goes on."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.journal import Journal, JournalLimits
from broker.journal.records import Acknowledged, Entry, Opened, Stored
from tests.integration.broker_journal.model import describe

LIMITS = JournalLimits(segment_bytes=16 * 1024, interval_s=0.0)
MESSAGES = 200
Harm = Callable[[Path, random.Random], None]


async def fill(
    directory: Path, *, acknowledge: bool = False, before_end: Callable[[], object] = lambda: None
) -> None:
    journal = Journal(directory, limits=LIMITS)
    journal.open()
    journal.start()
    journal.append([Opened(1, "c", "o", (), 5, 60.0)])
    for number in range(2, MESSAGES + 2):
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        message = Stored(number, "t", b"%05d" % number * 40, entries=(Entry(1, 1),))
        journal.append([message], stored.set_result)
        assert await stored
        if acknowledge:
            journal.append([Acknowledged(1, (number,))])
    before_end()
    await journal.close()


async def use(journal: Journal) -> None:
    journal.start()
    stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    journal.append(
        [Opened(900, "new", "o", (), 5, 60.0), Stored(901, "n", b"n", entries=(Entry(900, 1),))],
        stored.set_result,
    )
    assert await stored
    await journal.close()


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))


def flip(directory: Path, chance: random.Random) -> None:
    path = segments(directory)[1]
    buffer = bytearray(path.read_bytes())
    buffer[chance.randrange(1000, 10_000)] ^= 1 << chance.randrange(8)
    path.write_bytes(buffer)


def zero_a_block(directory: Path, chance: random.Random) -> None:
    path = segments(directory)[1]
    buffer = bytearray(path.read_bytes())
    at = chance.randrange(1000, 8000)
    buffer[at : at + 4096] = bytes(4096)
    path.write_bytes(buffer)


def fill_with_noise(directory: Path, chance: random.Random) -> None:
    segments(directory)[1].write_bytes(chance.randbytes(16 * 1024))


def cut(directory: Path, chance: random.Random) -> None:
    path = segments(directory)[0]
    path.write_bytes(path.read_bytes()[: chance.randrange(10_000)])


def empty(directory: Path, chance: random.Random) -> None:
    segments(directory)[chance.randrange(2)].write_bytes(b"")


def lose(directory: Path, chance: random.Random) -> None:
    segments(directory)[chance.randrange(2)].unlink()


def make_unreadable(directory: Path, chance: random.Random) -> None:
    path = segments(directory)[chance.randrange(2)]
    path.unlink()
    path.mkdir()


def swap(directory: Path, chance: random.Random) -> None:  # noqa: ARG001
    one, other = segments(directory)[:2]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def add_strangers(directory: Path, chance: random.Random) -> None:
    (directory / "notes.txt").write_text("mine")
    (directory / "0000000099-0123456789abcdef.log").write_bytes(chance.randbytes(5000))
    (directory / "spare-77").write_bytes(chance.randbytes(16 * 1024))
    (directory / "spare-78").write_bytes(b"")


HARMS: list[Harm] = [
    flip, zero_a_block, fill_with_noise, cut, empty, lose, make_unreadable, swap, add_strangers,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARMS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_starts_and_goes_on(tmp_path: Path, harm: Harm, seed: int) -> None:
    asyncio.run(fill(tmp_path))
    harm(tmp_path, random.Random(seed))
    journal = Journal(tmp_path, limits=LIMITS)
    image, report = journal.open()
    found = sorted(image.messages)
    bodies = image.bodies or {}
    assert all(bodies[number].payload == b"%05d" % number * 40 for number in found)
    assert not report.is_clean or harm is add_strangers
    if harm in {flip, zero_a_block}:
        lost = MESSAGES - len(found)
        assert 1 <= lost <= 20, "only what was hit is missing"
        assert report.damages
    if harm is add_strangers:
        assert len(found) == MESSAGES
    asyncio.run(use(journal))
    again = Journal(tmp_path, limits=LIMITS)
    image, _ = again.open()
    assert sorted(image.messages)[-1] == 901
    assert set(found) <= {*image.messages}
    assert "new" in describe(image)["sessions"]
    asyncio.run(again.close())


def test_what_only_memory_has_stays_there(tmp_path: Path) -> None:
    """A segment is damaged while the journal runs, and is then to be cleaned."""

    async def run() -> None:
        await fill(tmp_path)
        journal = Journal(tmp_path, limits=LIMITS)
        journal.open()
        fill_with_noise(tmp_path, random.Random(1))
        journal.start()
        for number in range(1000, 1400):
            stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            journal.append([Stored(number, "r", bytes(1000), is_retained=True)], stored.set_result)
            assert await stored
        await journal.close()

    asyncio.run(run())
    image, _ = Journal(tmp_path, limits=LIMITS).open()
    assert (image.bodies or {})[image.retained["r"]].message_id == 1399
