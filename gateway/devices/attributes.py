"""Reads the attributes that a device reports about itself, within bounds. Pure.

The values are small scalars. The names in NUMBERS and TEXTS have a meaning of their own and are
checked; a device may report a few others.
"""

import json
import math
import re
from collections.abc import Mapping

Attribute = str | int | float | bool
Attributes = Mapping[str, Attribute]

PAYLOAD_LIMIT_BYTES = 1024
COUNT_LIMIT = 16
TEXT_LIMIT = 64
NUMBERS = {"battery": (0, 100), "rssi": (-127, 20)}  # percent, dBm
TEXTS = ("firmware", "package", "board")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def parse_attributes(payload: bytes) -> dict[str, Attribute]:
    """Return the attributes in a payload; ValueError with the reason when it holds none."""
    if len(payload) > PAYLOAD_LIMIT_BYTES:
        raise ValueError(f"{len(payload)} bytes, limit is {PAYLOAD_LIMIT_BYTES}")
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as exc:
        raise ValueError("not JSON") from exc
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  # a fault of the peer
    for name, value in fields.items():
        _check(name, value)
    return fields


def merge_attributes(known: Attributes, reported: Attributes) -> dict[str, Attribute]:
    """Return the known attributes with those just reported; the oldest make room."""
    merged = {name: value for name, value in known.items() if name not in reported}
    merged.update(reported)
    surplus = max(len(merged) - COUNT_LIMIT, 0)
    return dict(list(merged.items())[surplus:])


def _check(name: str, value: object) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"name {name[:40]!r} is not 1 to 32 of a-z, 0-9 and _")
    if not isinstance(value, str | int | float):
        raise ValueError(f"{name} is neither a text, a number nor a truth value")  # noqa: TRY004
    if isinstance(value, str) and (len(value) > TEXT_LIMIT or not value.isprintable()):
        raise ValueError(f"{name} is not a text of at most {TEXT_LIMIT} printable characters")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is not a finite number")
    if isinstance(value, int) and abs(value) > 2**53:
        raise ValueError(f"{name} is too large")
    if name in TEXTS and not isinstance(value, str):
        raise ValueError(f"{name} is not a text")
    if name in NUMBERS:
        low, high = NUMBERS[name]
        if isinstance(value, bool | str) or not low <= value <= high:
            raise ValueError(f"{name} is not a number from {low} to {high}")
