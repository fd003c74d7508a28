"""Configuration: one TOML text to frozen dataclasses; what is not known is refused.

A settings class is a frozen dataclass whose fields are str, int, float, bool, Secret, Path,
tuple[str, ...], another settings class, or a tuple of settings classes (TOML's [[arrays of
tables]]). A field without a default is required. HECATE_UPLINK_URL=… overrides uplink.url. A field
`x: Secret` may be given as x_file = "path": read_file fetches it. A class may have a method
check(self) -> None that raises ValueError("x must be …").
"""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from protocol.errors import SettingsError
from protocol.secret import Secret

T = TypeVar("T")
ReadFile = Callable[[Path], str]


def load_settings(
    cls: type[T],
    text: str,
    source: str,
    environ: Mapping[str, str],
    read_file: ReadFile = Path.read_text,
) -> T:
    """Return the settings in a TOML text with the environment's overrides.

    Args:
        cls: the settings class of the whole file.
        text: TOML; may be empty.
        source: the file's name, for messages.
        environ: HECATE_… variables override single values; other variables are ignored.
        read_file: fetches the files that hold secrets.

    Raises:
        SettingsError: "cannot read <source>: [section] key: why".
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"cannot read {source}: {exc}") from exc
    reader = _Reader(source, environ, read_file)
    return reader.build(cls, table, ())


class _Reader:
    """Builds settings objects; knows the source for messages and the overrides."""

    def __init__(self, source: str, environ: Mapping[str, str], read_file: ReadFile) -> None:
        self._source, self._environ, self._read_file = source, environ, read_file

    def build(self, cls: type[T], table: Any, path: tuple[str, ...]) -> T:
        if not isinstance(table, dict):
            raise self._refusal(path, "is not a table")
        hints = typing.get_type_hints(cls)
        fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # cls is a dataclass by contract
        known = set(fields) | {f"{n}_file" for n, hint in hints.items() if hint is Secret}
        for key in table:
            if key not in known:
                raise self._refusal(
                    (*path, key), f"is not known; known are {', '.join(sorted(known))}"
                )
        values = {}
        for name, field in fields.items():
            value = self._value(hints[name], table, name, path)
            if value is not dataclasses.MISSING:
                values[name] = value
            elif (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            ):
                raise self._refusal((*path, name), "is required")
        return self._checked(cls, values, path)

    def _checked(self, cls: type[T], values: dict[str, Any], path: tuple[str, ...]) -> T:
        settings = cls(**values)
        check = getattr(settings, "check", None)
        try:
            if check is not None:
                check()
        except ValueError as exc:
            raise self._refusal((*path, ""), str(exc)) from exc
        return settings

    def _value(self, hint: Any, table: dict[str, Any], name: str, path: tuple[str, ...]) -> Any:
        here = (*path, name)
        if dataclasses.is_dataclass(hint):
            return self.build(typing.cast("type[Any]", hint), table.get(name, {}), here)
        variable = "HECATE_" + "_".join(here).upper()
        if variable in self._environ:
            return self._from_text(hint, self._environ[variable], here, variable)
        if hint is Secret and f"{name}_file" in table:
            return self._from_file(table[f"{name}_file"], here)
        if name not in table:
            return dataclasses.MISSING
        return self._from_toml(hint, table[name], here)

    def _from_toml(self, hint: Any, value: Any, here: tuple[str, ...]) -> Any:
        if typing.get_origin(hint) is tuple:
            item = typing.get_args(hint)[0]
            if not isinstance(value, list):
                raise self._refusal(here, "is not a list")
            if dataclasses.is_dataclass(item):
                cls = typing.cast("type[Any]", item)
                return tuple(self.build(cls, v, (*here, str(n))) for n, v in enumerate(value))
            return tuple(self._from_toml(item, v, here) for v in value)
        if isinstance(hint, types.UnionType):
            hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
        if hint in (Secret, Path) and isinstance(value, str):
            return hint(value)
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is not hint:
            raise self._refusal(here, f"= {value!r}: is not {_NAMES.get(hint, hint)}")
        return value

    def _from_text(self, hint: Any, text: str, here: tuple[str, ...], variable: str) -> Any:
        try:
            return _parse(hint, text)
        except (ValueError, KeyError) as exc:
            why = f"{variable}: is not {_NAMES.get(hint, 'a value for a variable')}"
            raise self._refusal(here, why) from exc

    def _from_file(self, name: Any, here: tuple[str, ...]) -> Secret:
        try:
            return Secret(self._read_file(Path(name)).strip())
        except (OSError, TypeError) as exc:
            raise self._refusal((*here[:-1], f"{here[-1]}_file"), f"= {name!r}: {exc}") from exc

    def _refusal(self, path: tuple[str, ...], why: str) -> SettingsError:
        section = f"[{'.'.join(path[:-1])}] " if len(path) > 1 else ""
        key = f"{path[-1]} " if path and path[-1] else ""
        return SettingsError(f"cannot read {self._source}: {section}{key}{why}")


_NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _parse(hint: Any, text: str) -> Any:
    """Return the value that a variable's text means; ValueError or KeyError when it means none."""
    if isinstance(hint, types.UnionType):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if hint == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if hint is bool:
        return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
    if typing.get_origin(hint) is tuple:
        raise ValueError("tables can only be given in the file")
    return hint(text)
