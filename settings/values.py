"""Converts values of TOML and texts of environment variables to the values of fields."""

import tomllib
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

from settings.secret import Secret

_NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def strip_none(hint: Any) -> Any:
    """Return the type of an optional field."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(each for each in typing.get_args(hint) if each is not types.NoneType)
    return hint


def item_type(hint: Any) -> Any | None:
    """Return the type of the items of a list; None for every other field."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None


def named_type(hint: Any) -> Any | None:
    """Return the type of the values of a table, dict[str, X]; None for every other field."""
    return typing.get_args(hint)[1] if typing.get_origin(hint) is dict else None


def convert(hint: Any, value: Any, folder: Path | None) -> Any:
    """Return what a field holds for a value of TOML.

    Raises:
        ValueError: the value is not of the field's type; the message repeats the value.
    """
    hint = strip_none(hint)
    if hint is object:
        return value
    item = item_type(hint)
    if item is not None:
        if not isinstance(value, list) or not all(_is_text(each) for each in value):
            raise ValueError(f"{value!r} is not a list of texts")
        return tuple(convert(item, each, folder) for each in value)
    if typing.get_origin(hint) is typing.Literal:
        return _choose(value, typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(_choose(value, [each.value for each in hint]))
    if hint is float and type(value) is int:
        value = float(value)
    kind = hint if hint in _NAMES else str
    if type(value) is not kind:
        raise ValueError(f"{value!r} is not {_NAMES[kind]}")
    return value if hint in _NAMES else _construct(hint, value, folder)


def parse_variable(hint: Any, text: str) -> Any:
    """Return the value of TOML that an environment variable's text means.

    A list of texts is written with commas; a table or a list of tables as in TOML: {key = 1}.

    Raises:
        ValueError: it means none.
    """
    hint = strip_none(hint)
    if hint == tuple[str, ...]:
        return [part.strip() for part in text.split(",") if part.strip()]
    if hint is bool:
        if text.lower() not in _FLAGS:
            raise ValueError(f"{text!r} is not true or false")
        return _FLAGS[text.lower()]
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError as exc:
            raise ValueError(f"{text!r} is not {_NAMES[hint]}") from exc
    if item_type(hint) is not None or is_table(hint):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as exc:
            raise ValueError(f"{text!r} is not written as in TOML: {exc}") from exc
    return text


def is_table(hint: Any) -> bool:
    """Return whether a field holds a table: a settings class that no text stands for."""
    return hasattr(hint, "__dataclass_fields__") and not _parses(hint)


def _construct(hint: Any, text: str, folder: Path | None) -> Any:
    if hint is Secret:
        return Secret(text)
    if hint is Path:
        if not text:
            raise ValueError("is empty")
        return folder.joinpath(text) if folder else Path(text)
    try:
        return hint.parse(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} {exc}") from exc


def _choose(value: Any, allowed: typing.Sequence[Any]) -> Any:
    if value not in allowed:
        raise ValueError(f"{value!r} must be one of {', '.join(map(str, allowed))}")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _parses(hint: Any) -> bool:
    return hasattr(hint, "parse")
