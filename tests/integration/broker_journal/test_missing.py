"""A segment that is gone, emptied or overwritten: said at WARNING, counted, found by a check."""

import asyncio
import json
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from broker import AllowAll, Broker
from broker.journal import Journal, JournalError, JournalLimits
from broker.journal.checking import check_journal
from broker.journal.segments import HEAD
from gateway.cli.journal_check import check_data
from tests.integration.broker_journal.test_damage import fill, segments

LIMITS = JournalLimits(segment_bytes=16 * 1024, interval_s=0.0)


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwrite(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


def overwrite_with_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def keep_the_head_alone(path: Path) -> None:
    path.write_bytes(HEAD)


def put_another_in_its_place(path: Path) -> None:
    other = next(each for each in segments(path.parent) if each != path)
    path.write_bytes(other.read_bytes())


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1_000])


HARMS = (
    remove, empty, overwrite, overwrite_with_zeros, keep_the_head_alone, put_another_in_its_place,
    cut_off,
)  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A folder that was closed, and one as the kill of the broker leaves it."""
    closed = tmp_path_factory.mktemp("closed")
    killed = tmp_path_factory.mktemp("killed")

    asyncio.run(fill(closed))
    asyncio.run(fill(killed, before_end=lambda: shutil.copytree(killed, killed / "copy")))
    return {True: closed, False: killed / "copy"}


# case B10
@pytest.mark.parametrize("harm", HARMS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("was_closed", [True, False], ids=["closed", "killed"])
def test_what_is_lost_is_told(
    folders: dict[bool, Path],
    tmp_path: Path,
    harm: Callable[[Path], None],
    which: int,
    was_closed: bool,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leaves_a_head = harm in {cut_off, keep_the_head_alone, put_another_in_its_place}
    if leaves_a_head and which == -1 and not was_closed:
        pytest.skip("docs/broker.md says that it cannot be told")
    folder = tmp_path / "data"
    shutil.copytree(folders[was_closed], folder)
    assert check_data(folder, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["damages"] == []
    harm(segments(folder)[which])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert check_data(folder, as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["clean"]
    assert found["lost_bytes"] > 0
    assert check_data(folder, as_json=False) == 1
    assert "lost: at most" in capsys.readouterr().out
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}

    async def start() -> int:
        async with Broker(
            [], AllowAll(), AllowAll(), store=Journal(folder, limits=LIMITS)
        ) as broker:
            return broker.counters.store_damages

    with caplog.at_level(logging.WARNING, "broker.journal"):
        assert asyncio.run(start()) == len(found["damages"]) + found["sessions_without_beginning"]
    assert any(str(folder) in each.getMessage() for each in caplog.records)


# case B10
def test_segments_that_were_cleaned_away_are_not_missed(tmp_path: Path) -> None:
    for _ in range(3):
        asyncio.run(fill(tmp_path, acknowledge=True))
        findings = check_journal(tmp_path)
        assert findings.report.is_clean
        assert not findings.is_in_use
    assert int(segments(tmp_path)[0].name[:10]) > 1


# case B10
def test_without_a_manifest_nothing_is_made_up(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path))
    (tmp_path / "manifest").write_bytes(b"?" * 100)
    assert check_journal(tmp_path).report.is_clean
    (tmp_path / "manifest").unlink()
    assert check_journal(tmp_path).report.is_clean
    segments(tmp_path)[1].unlink()
    assert not check_journal(tmp_path).report.is_clean


def test_a_check_tells_what_it_cannot_check(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no broker keeps its data there"):
        check_journal(tmp_path)
    with pytest.raises(JournalError, match="No such file"):
        check_journal(tmp_path / "nowhere")


def test_a_folder_in_use_can_be_checked(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.open()

    async def run() -> None:
        journal.start()
        assert check_journal(tmp_path).is_in_use
        await journal.close()

    (tmp_path / "manifest").write_bytes(b"")
    asyncio.run(run())
