"""Shows the lines of a container's log: plain ones, and the entries of `service.log`."""

import json
from typing import Any

from gateway.services.log_lines import parse_entry

_OWN = ("time", "level", "message", "trace", "traceback")


def readable(line: str) -> str:
    """Return a line of a log for people; what a microservice prints moves no cursor."""
    at, _, text = line.rstrip().partition(" ")
    entry = parse_entry(text)
    if entry is None:
        return _printable(line.rstrip())
    words = [at, entry["level"].upper(), entry["message"]]
    words += [f"{name}={_value(value)}" for name, value in entry.items() if name not in _OWN]
    words += [f"trace={entry['trace']}"] if "trace" in entry else []
    shown = [_printable(" ".join(map(str, words)))]
    shown += [f"    {_printable(each)}" for each in str(entry.get("traceback", "")).splitlines()]
    return "\n".join(shown)


def as_object(line: str) -> dict[str, Any]:
    """Return a line of a log as an object: time, line, and for an entry its level and fields."""
    at, _, text = line.partition(" ")
    entry = parse_entry(text)
    if entry is None:
        return {"time": at, "line": text}
    fields = {name: value for name, value in entry.items() if name not in _OWN}
    more: dict[str, Any] = {n: entry[n] for n in ("trace", "traceback") if n in entry}
    return {"time": at, "line": entry["message"], "level": entry["level"], **more, "fields": fields}


def _value(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in text)
