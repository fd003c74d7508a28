"""Folders that another version has written."""

import logging
from pathlib import Path

import pytest

from broker import AllowAll, Limits
from broker.core import Core
from broker.journal import Journal, JournalError
from broker.journal.segments import HEAD, VERSION
from broker.wire.packets import Subscription
from broker.wire.packets import Will as PacketWill

VECTOR = Path(__file__).resolve().parents[3] / "vectors" / "journal_2.hex"


def unpack(folder: Path) -> Path:
    """Write the segment of version 2 into a folder; return its path."""
    name, *lines = VECTOR.read_text().splitlines()
    path = folder / name
    path.write_bytes(bytes.fromhex("".join(lines)))
    return path


# case B7
def test_a_folder_of_version_2_is_read_as_it_was(tmp_path: Path) -> None:
    unpack(tmp_path)
    journal = Journal(tmp_path)
    image, report = journal.open()
    assert report.is_clean
    assert image.bodies is not None
    names = {each.client_id: each for each in image.sessions.values()}
    assert names.keys() == {"away", "five", "mortal"}
    assert names["away"].subscriptions == {"a/#": Subscription("a/#", 2)}
    assert names["away"].queue == {1: 5, 2: 0, 3: 0}
    assert list(names["away"].released) == [6]
    assert names["five"].subscriptions["a/+"].identifiers == (7,)
    assert names["five"].received == {9}
    assert [image.bodies[each].payload for each in image.retained.values()] == [b"kept"]
    core = Core(AllowAll(), Limits(), lambda: None, store=journal)
    core.restore(image, 1_000.0, 2e9)
    gauges = core.admin.count()
    assert (gauges.away, gauges.waiting) == (3, 3)
    (session,) = (each for each in core._registry if each.client_id == "mortal")
    assert session.will == PacketWill("w/mortal", b"dead", 1, retain=True)


# case B7
def test_a_segment_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = unpack(tmp_path)
    later = path.read_bytes().replace(b"journal 2", b"journal %d" % (VERSION + 1), 1)
    path.write_bytes(later)
    for _ in range(2):  # the folder is let go of
        journal = Journal(tmp_path)
        with pytest.raises(JournalError, match=r"later version .* use another folder"):
            journal.open()
    assert path.read_bytes() == later


def test_a_damaged_version_of_an_older_segment_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = unpack(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(HEAD) - 1] ^= 0x80
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        image, report = Journal(tmp_path).open()
    assert len(image.sessions) == 3
    assert not report.is_clean
