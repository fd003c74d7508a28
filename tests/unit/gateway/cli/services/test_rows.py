import re

import pytest

from gateway.cli.errors import CliError
from gateway.cli.output import print_table
from gateway.cli.services.containers import OPTIONAL, PS_COLUMNS, container_row
from gateway.cli.services.deadletters import letter_row, payload_of
from gateway.cli.services.versions import version_row

NOW = 1_800_000_000.0
CONTAINER = {
    "name": "meter", "state": "started", "image": "meter-v1", "startedAt": (NOW - 60) * 1000,
    "env": {"MCM.BASE_API_PATH": "/api/meter/v1"}, "handled": 12, "failed": 0, "dropped": 0,
    "restarts": 0, "error": "", "lastEnd": {"reason": "", "at": 0},
}  # fmt: skip


def ps(*containers: dict[str, object], capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_table(PS_COLUMNS, [container_row(c, NOW) for c in containers], "none", OPTIONAL)
    return re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()


def test_columns_without_news_are_left_out_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"COLUMNS": "80", "FORCE_COLOR": "1", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    head, row = ps(CONTAINER, capsys=capsys)
    assert head.split() == ["NAME", "STATE", "SINCE", "IMAGE", "PATH", "HANDLED"]
    assert row.split() == ["meter", "started", "1", "min", "meter-v1", "/api/meter/v1", "12"]
    assert len(head) <= 80
    head, _ = ps(CONTAINER | {"dropped": 7}, capsys=capsys)
    assert "DROPPED" in head


def test_a_pipe_has_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(ps(CONTAINER, capsys=capsys)[0].split()) == PS_COLUMNS


def test_the_next_try_stands_beside_the_reason() -> None:
    waits = {"state": "failed", "error": "it exited with status 1", "nextTry": (NOW + 150) * 1000}
    row = container_row(CONTAINER | waits, NOW)
    assert row[-1] == "it exited with status 1; next try in 2 min"
    assert container_row(CONTAINER | waits | {"nextTry": 0}, NOW)[-1] == waits["error"]


def test_the_note_of_a_version_that_was_left_is_told_once() -> None:
    why = "it exited with status 3"
    note = f"version 2 ended soon after its start: {why}; version 1 runs again"
    left = CONTAINER | {"note": note, "version": 1, "lastEnd": {"reason": why, "at": NOW * 1000}}
    assert container_row(left, NOW)[-1] == note
    failed = left | {"note": "version 3 failed: cannot load service.py"}
    expected = f"{why} (now); version 3 failed: cannot load service.py"
    assert container_row(failed, NOW)[-1] == expected
    assert container_row(CONTAINER | {"waiting": 4}, NOW)[-1] == "version 4 is being deployed"


def test_messages_that_wait_or_died_are_told() -> None:
    news = {"messages": {"held": 7}, "deadLetters": {"kept": 2, "dropped": 0}}
    row = dict(zip(PS_COLUMNS, container_row(CONTAINER | news, NOW), strict=True))
    assert row["DEAD"] == "2"
    why = "publishers of 7 messages wait; see `hecate deadletters list meter`"
    assert row["REASON"] == why


def test_a_version_row() -> None:
    version = {
        "version": 3, "state": "running", "image": "meter-v2", "created": (NOW - 3600) * 1000,
        "digest": "sha256:" + "a" * 64, "env": {"A": "1"}, "error": "",
    }  # fmt: skip
    row = version_row(version, NOW)
    assert row == ("3", "running", "meter-v2", "1 h 00 min ago", "sha256:" + "a" * 12, "A=1", "")


def test_a_dead_letter_row_has_one_line() -> None:
    letter = {"id": "7", "at": (NOW - 90) * 1000, "topic": "t/a", "size": 3, "tries": 4,
              "error": "ValueError: bad\nTraceback"}  # fmt: skip
    assert letter_row(letter, NOW) == ("7", "1 min ago", "t/a", "3 B", "4", "ValueError: bad")
    assert payload_of({"payload": "AAH/"}) == b"\x00\x01\xff"
    with pytest.raises(CliError, match="payload is garbled"):
        payload_of({"id": "7", "payload": "?"})
