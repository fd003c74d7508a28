"""Reads numbers of answers, and formats numbers and foreign texts for people."""

from typing import Any


def number_of(row: dict[str, Any], key: str) -> float:
    """Return the number of a field; 0 when it is absent or no number."""
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def duration(seconds: float) -> str:
    """Return "8 s", "3 min", "2 h 05 min" or "4 d 3 h"."""
    total = max(0, int(seconds))
    if total < 60:
        return f"{total} s"
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{days} d {hours % 24} h"


def ago(seconds: float) -> str:
    """Return how long ago something was; "now" for the last five seconds."""
    return "now" if seconds < 5 else f"{duration(seconds)} ago"


def size(count: float) -> str:
    """Return a number of bytes with a decimal unit, as network tools do."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError(count)


def metres(distance_m: float) -> str:
    """Return a distance as "850 m" or "12.3 km"."""
    return f"{distance_m:.0f} m" if distance_m < 1000 else f"{distance_m / 1000:.1f} km"


def restarted(count: int, why: str) -> str:
    """Return how often a microservice was started again and why the last time; "" when never."""
    return f"{plural(count, 'restart')}, the last: {why}" if count else ""


def plural(count: int, noun: str) -> str:
    """Return "1 node" or "2 nodes"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """Return a text that cannot move a terminal's cursor: devices and microservices choose it."""
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in text)
