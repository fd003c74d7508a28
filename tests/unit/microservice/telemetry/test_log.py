"""Structured log lines."""

import json
from typing import Any

from microservice.telemetry.log import LINE_LIMIT, ServiceLog
from microservice.telemetry.trace import continue_trace

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def written(*calls: tuple[str, str, dict[str, Any]], level: str = "info") -> list[dict[str, Any]]:
    lines: list[str] = []
    log = ServiceLog(lines.append)
    log.set_level(level)
    for name, text, fields in calls:
        getattr(log, name)(text, **fields)
    assert not any("\n" in line for line in lines)
    return [json.loads(line) for line in lines]


def test_an_entry_is_one_line_of_json_with_its_fields() -> None:
    (entry,) = written(("warning", "too\nwarm", {"room": "attic", "value": 31.5, "level": "x"}))
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "warning", "message": "too\nwarm", "room": "attic", "value": 31.5, "level_": "x",
    }  # fmt: skip


def test_levels_below_the_wanted_one_are_left_out() -> None:
    calls: list[tuple[str, str, dict[str, Any]]] = [
        (level, "x", {}) for level in ("debug", "info", "warning", "error")
    ]
    assert [e["level"] for e in written(*calls)] == ["info", "warning", "error"]
    assert len(written(*calls, level="debug")) == 4
    assert len(written(*calls, level="error")) == 1
    assert len(written(*calls, level="nonsense")) == 3


def test_an_entry_names_the_trace_of_its_handler() -> None:
    with continue_trace(PARENT, None):
        (entry,) = written(("info", "x", {}))
    assert entry["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert "trace" not in written(("info", "x", {}))[0]


def test_any_value_is_written_and_a_long_entry_is_shortened() -> None:
    circle: list[Any] = []
    circle.append(circle)
    (entry,) = written(("info", "x", {"a": {1, 2}, "b": b"x"}))
    assert entry["b"] == "b'x'"
    assert "..." in written(("info", "x", {"a": circle}))[0]["a"]
    (entry,) = written(("info", "\U0001f600\0" * LINE_LIMIT, {"a": "b" * LINE_LIMIT}))
    assert entry["shortened"] is True
    assert "a" not in entry
    assert len(json.dumps(entry, ensure_ascii=False).encode()) < LINE_LIMIT


def test_an_exception_brings_its_traceback() -> None:
    lines: list[str] = []
    log = ServiceLog(lines.append)
    try:
        int("no number")
    except ValueError:
        log.exception("cannot read", room="attic")
    entry = json.loads(lines[0])
    assert entry["level"] == "error"
    assert entry["traceback"].endswith("with base 10: 'no number'")


# case S22
def test_a_secret_is_not_written() -> None:
    lines: list[str] = []
    log = ServiceLog(lines.append)
    log.hide(['say "friend"', "hunter2-7b1f", "short"])
    log.info('hunter2-7b1f and say "friend"', header="Bearer hunter2-7b1f", kind="short")
    entry = json.loads(lines[0])
    assert entry["message"] == "*** and ***"
    assert (entry["header"], entry["kind"]) == ("Bearer ***", "short")
