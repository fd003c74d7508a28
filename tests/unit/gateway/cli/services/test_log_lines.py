import json
from datetime import UTC, datetime

import pytest

from gateway.cli.services.log_lines import LogParser, is_at_least, parse_since, render

AT = "2026-01-31T12:00:00.000Z"
ENTRY = {
    "time": AT, "level": "warning", "message": "too warm", "trace": "ab12", "room": "the attic",
    "value": 31.5,
}  # fmt: skip


def parse(*texts: str) -> list[tuple[str, str]]:
    parser = LogParser()
    return [(line.level, line.text) for line in (parser.parse(f"{AT} {text}") for text in texts)]


def test_an_entry_shows_level_message_and_fields() -> None:
    line = LogParser().parse(f"{AT} {json.dumps(ENTRY)}")
    shown = '12:00:00 WARNING too warm room="the attic" value=31.5 trace=ab12'
    assert render(line, "12:00:00").plain == shown
    assert line.as_object() == {
        "time": AT, "line": "too warm", "level": "warning", "trace": "ab12",
        "fields": {"room": "the attic", "value": 31.5},
    }  # fmt: skip


def test_the_traceback_of_an_entry_stands_below_it() -> None:
    entry = {"level": "error", "message": "failed", "traceback": 'File "x", line 1\nValueError'}
    shown = render(LogParser().parse(f"{AT} {json.dumps(entry)}"), "").plain
    assert shown.splitlines() == ["ERROR   failed", '    File "x", line 1', "    ValueError"]


def test_a_traceback_has_the_level_of_the_line_before_it() -> None:
    lines = ["started", "ERROR m: failed", "Traceback (most recent call last):", '  File "s.py"',
             "ValueError: no", "started again"]  # fmt: skip
    assert [level for level, _ in parse(*lines)] == ["info"] + ["error"] * 4 + ["info"]
    assert parse("Traceback (most recent call last):", "  x")[1][0] == "error"
    assert parse("WARNING: old", "DEBUG x", "CRITICAL x")[0][0] == "warning"


@pytest.mark.parametrize(
    "text",
    ["{", '{"level": "info"}', '{"message": "x", "level": "loud"}', '["x"]', "{'a': 1}",
     '{"level": ["info"], "message": "x"}'],
)  # fmt: skip
def test_other_json_is_text(text: str) -> None:
    line = LogParser().parse(f"{AT} {text}")
    assert not line.is_structured
    assert render(line, AT).plain == f"{AT} {text}"
    assert line.as_object() == {"time": AT, "line": text, "level": "info"}


def test_nothing_moves_the_cursor() -> None:
    entry = json.dumps({"level": "info", "message": "a\x1b[2J\nb", "f\x07": "\x1b"})
    for text in ("a\x1b[2Jb", entry):
        shown = render(LogParser().parse(f"{AT} {text}"), "").plain
        assert not {"\x1b", "\n", "\x07"} & set(shown)


def test_levels_are_ordered() -> None:
    line = LogParser().parse(f"{AT} {json.dumps(ENTRY)}")
    assert [is_at_least(line, level) for level in ("debug", "info", "warning", "error")] == [
        True, True, True, False,
    ]  # fmt: skip


def test_since_is_a_period_or_a_time() -> None:
    now = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    assert parse_since("10m", now) == "2026-01-31T11:50:00.000Z"
    assert parse_since("2d", now) == "2026-01-29T12:00:00.000Z"
    assert parse_since("2026-01-31T12:00+01:00", now) == "2026-01-31T11:00:00.000Z"
    for wrong in ("soon", "10", "-1m", ""):
        with pytest.raises(ValueError, match="Invalid isoformat"):
            parse_since(wrong, now)
