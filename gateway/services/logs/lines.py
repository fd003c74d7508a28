"""Puts the time in front of the lines of a container's output, cuts long ones, reads entries. Pure.

A line beyond the limit is cut, and tells by how much: one line without an end could otherwise push
all others out of the log.
"""

import json
from datetime import UTC, datetime
from typing import Any

NOTE = "[hecate] "  # before lines of the gateway itself


class LogLines:
    """The place in an output that comes in pieces."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._in_line = 0  # bytes of the line that has begun
        self._cut = 0  # bytes of it that were left out

    def feed(self, piece: bytes, now: float) -> bytes:
        """Return what to write for a piece of output."""
        stamp = time_stamp(now).encode() + b" "
        written = bytearray()
        for line in piece.splitlines(keepends=True):
            text = line.rstrip(b"\r\n")
            end = line[len(text) :]
            if not self._in_line and not self._cut:
                written += stamp
            kept = text[: max(0, self._limit_bytes - self._in_line)]
            written += kept
            self._in_line += len(kept)
            self._cut += len(text) - len(kept)
            if end:
                written += self.end_line() + end
        return bytes(written)

    def end_line(self) -> bytes:
        """Return what tells how much of the line was left out; begin a new line."""
        cut, self._in_line, self._cut = self._cut, 0, 0
        return f" … {NOTE}{cut} bytes more suppressed".encode() if cut else b""


def note(text: str, now: float) -> bytes:
    """Return a line of the gateway itself."""
    return f"{time_stamp(now)} {NOTE}{text}\n".encode()


def time_stamp(now: float) -> str:
    """Return a unix time as 2026-01-31T12:00:00.000Z."""
    at = datetime.fromtimestamp(now, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def parse_entry(text: str) -> dict[str, Any] | None:
    """Return the entry of `service.log` in a line, with its level and message; None without one."""
    if not text.startswith('{"time": '):
        return None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_whole = all(isinstance(entry.get(name), str) for name in ("level", "message"))
    return entry if is_whole else None
