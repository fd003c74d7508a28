"""The lines of a log, for people and as JSON."""

import json

from gateway.cli.client.log_lines import as_object, readable

AT = "2027-01-15T08:00:00.123Z"
ENTRY = {
    "time": "2027-01-15T08:00:00.120Z", "level": "warning", "message": "too warm",
    "trace": "4bf9", "room": "the attic", "value": 31.5,
}  # fmt: skip


def test_an_entry_is_shown_as_text_with_its_fields() -> None:
    line = f"{AT} {json.dumps(ENTRY)}\n"
    assert readable(line) == f'{AT} WARNING too warm room="the attic" value=31.5 trace=4bf9'
    assert as_object(line) == {
        "time": AT, "line": "too warm", "level": "warning", "trace": "4bf9",
        "fields": {"room": "the attic", "value": 31.5},
    }  # fmt: skip


def test_a_traceback_has_lines_of_its_own() -> None:
    entry = {**ENTRY, "traceback": "Traceback:\n  File x\nValueError: \x1b[2J"}
    shown = readable(f"{AT} {json.dumps(entry)}")
    assert shown.splitlines()[1:] == [
        "    Traceback:", "      File x", "    ValueError: ?[2J",
    ]  # fmt: skip


def test_a_plain_line_stays_as_it_is_but_moves_no_cursor() -> None:
    for text in ("hello", '{"time": 1', '{"time": "x"}', '{"time": "x", "level": 1}', "[1]", ""):
        assert readable(f"{AT} {text}\n") == f"{AT} {text}".rstrip()
        assert as_object(f"{AT} {text}") == {"time": AT, "line": text}
    assert readable(f"{AT} a\x1b[2Jb") == f"{AT} a?[2Jb"
    entry = {**ENTRY, "message": "a\x1b[2J\nb", "x\x07": 1}
    assert readable(f"{AT} {json.dumps(entry)}").count("?") == 3
