"""Writes structured log lines: one JSON object for each entry, on standard output.

The gateway keeps them in the container's log beside what the service prints.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from microservice.telemetry.trace import current_trace

LINE_LIMIT = 7000  # bytes; the gateway cuts at 8 KiB. A longer entry keeps its text, shortened
HIDDEN_LEAST = 6  # shorter texts occur by chance
LEVELS = ("debug", "info", "warning", "error")
RESERVED = ("time", "level", "message", "trace")


class ServiceLog:
    """The log of a service: `service.log.info("too warm", room="attic", value=31.5)`."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write or _print
        self._least = LEVELS.index("info")
        self._hidden: tuple[str, ...] = ()

    def hide(self, secrets: Iterable[str]) -> None:
        """Write *** in place of secrets, from HIDDEN_LEAST characters on."""
        told = [each for each in secrets if len(each) >= HIDDEN_LEAST]
        written = [json.dumps(each, ensure_ascii=False)[1:-1] for each in told]
        self._hidden = tuple(sorted(written, key=len, reverse=True))

    def set_level(self, level: str) -> None:
        """Leave out entries below a level: debug, info, warning or error."""
        self._least = LEVELS.index(level) if level in LEVELS else LEVELS.index("info")

    def debug(self, text: str, **fields: Any) -> None:
        """Write an entry that only shows with LOG_LEVEL=debug in the container's env."""
        self._note("debug", text, fields)

    def info(self, text: str, **fields: Any) -> None:
        """Write an entry about something usual."""
        self._note("info", text, fields)

    def warning(self, text: str, **fields: Any) -> None:
        """Write an entry about something that a person should look at."""
        self._note("warning", text, fields)

    def error(self, text: str, **fields: Any) -> None:
        """Write an entry about something that failed."""
        self._note("error", text, fields)

    def exception(self, text: str, **fields: Any) -> None:
        """Write an error with the traceback of the exception that is being handled."""
        self._note("error", text, fields | {"traceback": traceback.format_exc().rstrip()})

    def _note(self, level: str, text: str, fields: dict[str, Any]) -> None:
        if LEVELS.index(level) < self._least:
            return
        entry: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level,
            "message": str(text),
        }
        trace = current_trace()
        if trace is not None:
            entry["trace"] = trace.trace_id
        for name, value in fields.items():
            entry[f"{name}_" if name in RESERVED else name] = value
        line = _line(entry)
        for secret in self._hidden:
            line = line.replace(secret, "***")
        self._write(line)


def _line(entry: dict[str, Any]) -> str:
    line = _json(entry)
    if len(line.encode(errors="replace")) <= LINE_LIMIT:
        return line
    kept = {name: entry[name] for name in RESERVED if name in entry}
    kept["message"] = kept["message"][: LINE_LIMIT // 8]  # an escaped character takes up to six
    return _json(kept | {"shortened": True})


def _json(entry: dict[str, Any]) -> str:
    try:
        return json.dumps(entry, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # a value that refers to itself
        return json.dumps({name: str(value)[:LINE_LIMIT] for name, value in entry.items()})


def _print(line: str) -> None:
    # one write: lines of threads do not mix; lone surrogates are not text
    sys.stdout.write(line.encode(errors="replace").decode() + "\n")
    sys.stdout.flush()
