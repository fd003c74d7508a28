"""Counts of processes that have ended in a message."""

from pathlib import Path

import pytest

from microservice.mqtt.unfinished import ENTRIES, UnfinishedMessages
from microservice.mqtt.wire import Incoming


def again(payload: bytes) -> Incoming:
    return Incoming("a/é", payload, 1, False, True, 1)


GUILTY, OTHER = again(b"\xff"), again(b"")


def test_a_process_that_ends_in_a_message_is_counted(tmp_path: Path) -> None:
    path = tmp_path / ".unfinished"
    for ends in range(4):
        assert UnfinishedMessages(path).begin(GUILTY) == ends


def test_a_message_that_does_not_run_at_the_end_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / ".unfinished"
    UnfinishedMessages(path).begin(GUILTY)
    for _ in range(2):
        process = UnfinishedMessages(path)
        assert process.begin(GUILTY) == 1
        assert process.begin(OTHER) == 0
        process.pause(GUILTY)
        process.finish(OTHER)
    process.finish(GUILTY)
    assert not path.exists()
    assert UnfinishedMessages(path).begin(GUILTY) == 0


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": "x"}', b'{"a": null}', b"\xff"])
def test_a_damaged_file_counts_nothing(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / ".unfinished"
    path.write_bytes(content)
    assert UnfinishedMessages(path).begin(GUILTY) == 0
    assert UnfinishedMessages(path).begin(GUILTY) == 1


def test_the_counts_are_bounded_and_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    unfinished = UnfinishedMessages(tmp_path / "none/.unfinished")
    for number in range(2 * ENTRIES):
        unfinished.begin(again(str(number).encode()))
    assert len(unfinished._ends) == len(unfinished._running) == ENTRIES
