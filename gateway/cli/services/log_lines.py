"""Reads the lines of a container's log, structured or plain, and shows them to people. Pure.

The gateway puts a time before each line that a microservice prints. The kit's `service.log` prints
one JSON object per entry; anything else is text, and its level is guessed from its first word.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.text import Text

from gateway.cli.view.words import printable

LEVELS = ("debug", "info", "warning", "error")
_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}
_STRUCTURED = ("time", "level", "message", "trace", "traceback")
_WORD = re.compile(r"(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b")
_WORDS = {"WARN": "warning", "CRITICAL": "error", "FATAL": "error"}
_CONTINUED = re.compile(
    r"\s|Traceback \(|During handling of|The above exception|[\w.]+(Error|Exception)\b"
)
_PERIOD = re.compile(r"(\d+)(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log."""

    at: str  # as the gateway has it: 2026-01-31T12:00:00.000Z
    text: str  # as the microservice has printed it
    level: str = "info"
    message: str = ""  # of a structured entry; "" for others
    fields: Mapping[str, Any] = field(default_factory=dict)
    trace: str = ""
    traceback: str = ""

    @property
    def is_structured(self) -> bool:
        """True when service.log has written it."""
        return bool(self.message or self.fields or self.trace)

    def as_object(self) -> dict[str, Any]:
        """Return it for programs."""
        text = self.message if self.is_structured else self.text
        told: dict[str, Any] = {"time": self.at, "line": text, "level": self.level}
        if self.is_structured:
            told["fields"] = dict(self.fields)
        if self.trace:
            told["trace"] = self.trace
        if self.traceback:
            told["traceback"] = self.traceback
        return told


class LogParser:
    """Parses one line after the other: a traceback has the level of the line before it."""

    def __init__(self) -> None:
        self._level = "info"

    def parse(self, line: str) -> LogLine:
        """Return the parts of a line."""
        at, _, text = line.rstrip("\r\n").partition(" ")
        entry = _entry(text)
        if entry is not None:
            self._level = "info"
            return LogLine(at, text, **entry)
        if found := _WORD.match(text):
            self._level = _WORDS.get(found[1], found[1].lower())
        elif text.startswith("Traceback ("):
            self._level = "error"
        elif not _CONTINUED.match(text):
            self._level = "info"
        return LogLine(at, text, self._level)


def is_at_least(line: LogLine, level: str) -> bool:
    """Return whether a line is as important as a level, or more."""
    return LEVELS.index(line.level) >= LEVELS.index(level)


def parse_since(text: str, now: datetime) -> str:
    """Return a time as the log has it, given "10m", "2h" or a time; ValueError for others."""
    if found := _PERIOD.fullmatch(text):
        return _stamp(now - timedelta(**{_UNITS[found[2]]: int(found[1])}))
    at = datetime.fromisoformat(text)
    return _stamp(at if at.tzinfo else at.astimezone())


def render(line: LogLine, stamp: str) -> Text:
    """Return a line for people: time, level and text; fields behind the message."""
    style = _STYLES[line.level]
    shown = Text.assemble((f"{stamp} ", "dim") if stamp else "")
    if not line.is_structured:
        return shown.append(printable(line.text), style)
    shown.append(f"{line.level.upper():7} ", style).append(printable(line.message), style)
    for name, value in line.fields.items():
        is_word = isinstance(value, str) and " " not in value
        told = value if is_word else json.dumps(value, ensure_ascii=False, default=str)
        shown.append(f" {printable(name)}=", "dim").append(printable(told))
    if line.trace:
        shown.append(f" trace={printable(line.trace)}", "dim")
    for each in line.traceback.splitlines():
        shown.append(f"\n    {printable(each)}", "dim")
    return shown


def _entry(text: str) -> dict[str, Any] | None:
    """Return the parts of a structured entry; None for other text."""
    if not text.startswith('{"'):
        return None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.get("level") not in LEVELS or "message" not in entry:
        return None
    return {
        "level": entry["level"],
        "message": str(entry["message"]),
        "fields": {name: value for name, value in entry.items() if name not in _STRUCTURED},
        "trace": str(entry.get("trace") or ""),
        "traceback": str(entry.get("traceback") or ""),
    }


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
