"""Reads JSON that every part of the program can process.

JSON in Python is wider than RFC 8259: NaN, 1e999, halves of surrogate pairs and integers of any
size are accepted, and fail later in UTF-8, a database or a comparison. This module refuses them at
once (RFC 7493, I-JSON).
"""

import json
import math
from typing import Any

from web.errors import JsonError

DEPTH_LIMIT = 64  # of arrays and objects: far below any recursion limit
INTEGER_LIMIT = 2**63 - 1  # the range of SQLite and of most languages


def parse_json(body: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        JsonError: it is not JSON, or holds a value that cannot be processed.
    """
    try:
        value = json.loads(
            body, parse_constant=_refuse, parse_float=_read_float, parse_int=_read_integer
        )
    except JsonError:
        raise
    except RecursionError as exc:
        raise JsonError("nested too deep") from exc
    except ValueError as exc:
        raise JsonError("not JSON") from exc
    _check(value)
    return value


def _refuse(constant: str) -> Any:
    raise JsonError(f"{constant} is not a JSON number")


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonError("a number is too large")
    return value


def _read_integer(text: str) -> int:
    if len(text) > len(str(INTEGER_LIMIT)) + 1 or abs(value := int(text)) > INTEGER_LIMIT:
        raise JsonError("a number is too large")
    return value


def _check(value: Any) -> None:
    """Refuse deep nesting and lone surrogates, without recursion."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for each in level:
            if isinstance(each, str):
                _check_text(each)
            elif isinstance(each, dict):
                below += each.keys()
                below += each.values()
            elif isinstance(each, list):
                below += each
        depth += bool(below)
        if depth > DEPTH_LIMIT:
            raise JsonError("nested too deep")
        level = below


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise JsonError("a text holds half of a surrogate pair") from exc
