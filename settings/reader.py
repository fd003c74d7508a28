"""Reads settings: a TOML text and environment variables become frozen dataclasses.

A settings class is a frozen dataclass. A field holds a str, int, float, bool, Secret, Path, an
Enum, a Literal, a class with a `parse(text)`, tuple[str, ...], another settings class (a table), a
tuple of settings classes (TOML's [[arrays of tables]]), a dict of any of these (a table with free
names), or any of them or None; an object holds any value. A field without a default is required. A
field `x: Secret` may be given as x_file = "path". A class may have a method check(self) -> None
that raises ValueError("x must be …"), or an ExceptionGroup of several.

Every fault is reported, not only the first, each with its table, its key and its line. An unknown
key and an unknown variable are faults: a mistyped one would go unnoticed.
"""

import dataclasses
import tomllib
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from settings import places
from settings.environment import Variables
from settings.errors import SettingsError
from settings.secret import Secret
from settings.values import (
    convert,
    is_table,
    item_type,
    named_type,
    parse_variable,
    strip_none,
)

T = TypeVar("T")
ReadFile = Callable[[Path], str]

NO_VARIABLES = Variables()


def load_settings(
    cls: type[T],
    text: str,
    source: str,
    variables: Variables = NO_VARIABLES,
    *,
    folder: Path | None = None,
    read_file: ReadFile = Path.read_text,
) -> T:
    """Return the settings in a TOML text with the environment's overrides.

    Args:
        cls: the settings class of the whole file.
        text: TOML; may be empty.
        source: the file's name, for messages.
        variables: override single values.
        folder: relative paths start here; without one they stay as they are.
        read_file: fetches the files that hold secrets.

    Raises:
        SettingsError: "cannot read <source>: [section] key: why", with every fault.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError.of(source, [str(exc)]) from exc
    reader = _Reader(text, variables, folder, read_file)
    settings = reader.build(cls, table, ())
    reader.refuse_variables()
    if reader.faults or settings is None:
        raise SettingsError.of(source, reader.faults)
    return settings


class _Reader:
    """Builds settings objects and collects the faults."""

    def __init__(
        self, text: str, variables: Variables, folder: Path | None, read_file: ReadFile
    ) -> None:
        self.faults: list[str] = []
        self._text, self._variables, self._folder = text, variables, folder
        self._read_file = read_file
        self._known: set[str] = set()  # the variables of all settings
        self._lines: dict[places.Path, int] | None = None

    def build(self, cls: type[T], table: Any, path: places.Path) -> T | None:
        """Return the settings of one table; None when it has a fault."""
        if not isinstance(table, dict):
            self._refuse((*path, ""), "is not a table")
            return None
        before = len(self.faults)
        hints = typing.get_type_hints(cls)
        fields = {each.name: each for each in dataclasses.fields(cls)}  # type: ignore[arg-type]  # cls is a dataclass by contract
        self._refuse_unknown(set(fields), hints, table, path)
        values = {}
        for name, field in fields.items():
            value = self._value(hints[name], table, name, path)
            if value is not dataclasses.MISSING:
                values[name] = value
            elif (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
                and len(self.faults) == before
            ):
                self._refuse((*path, name), "is required")
        if len(self.faults) > before:
            return None
        return self._checked(cls(**values), path)

    def refuse_variables(self) -> None:
        """Refuse the variables of the program that no setting has."""
        for name in self._variables.find_unknown(frozenset(self._known)):
            self.faults.append(f"{name}: is not known")

    def _refuse_unknown(
        self, names: set[str], hints: dict[str, Any], table: dict[str, Any], path: places.Path
    ) -> None:
        known = names | {f"{name}_file" for name in names if hints[name] is Secret}
        for key in table:
            if key not in known:
                listed = ", ".join(sorted(known))
                self._refuse((*path, key), f"is not known; known are {listed}")

    def _checked(self, settings: T, path: places.Path) -> T:
        check = getattr(settings, "check", None)
        if check is not None:
            try:
                check()
            except* ValueError as group:
                for exc in group.exceptions:
                    self._refuse((*path, ""), str(exc))
        return settings

    def _value(self, hint: Any, table: dict[str, Any], name: str, path: places.Path) -> Any:
        kind, here = strip_none(hint), (*path, name)
        variable = self._find_variable(kind, here)
        if variable is not None:
            return self._from_variable(kind, *variable, here)
        if is_table(kind):
            is_given = name in table or kind is hint or self._variables.has_below(_names(here))
            return self.take(kind, table.get(name, {}), here) if is_given else dataclasses.MISSING
        if kind is Secret and f"{name}_file" in table:
            return self._from_file(table[f"{name}_file"], (*path, f"{name}_file"))
        if name not in table:
            return dataclasses.MISSING
        return self._from_toml(kind, table[name], here)

    def _find_variable(self, kind: Any, here: places.Path) -> tuple[str, str] | None:
        names = _names(here)
        if len(names) < len(here):
            return None  # in a table of an array, which has no name
        if not is_table(kind):
            self._known.add(self._variables.name(names))
        former = self._variables.find_former(names)
        if former is not None:
            self.faults.append(f"{former}: is now {self._variables.name(names)}")
        return self._variables.find(names)

    def _from_variable(self, kind: Any, variable: str, text: str, here: places.Path) -> Any:
        self._known.add(variable)
        inner = _Reader("", NO_VARIABLES, self._folder, self._read_file)  # its faults have no line
        try:
            value = parse_variable(kind, text)
        except ValueError as exc:
            self.faults.append(f"{places.format_place(here)}: {variable}: {exc}")
            return dataclasses.MISSING
        result = inner.take(kind, value, here)
        self.faults += [f"{variable}: {fault}" for fault in inner.faults]
        return result

    def take(self, kind: Any, value: Any, here: places.Path) -> Any:
        """Return a field's value for a value of TOML; MISSING when it has a fault."""
        if is_table(kind):
            built = self.build(kind, value, here)
            return dataclasses.MISSING if built is None else built
        return self._from_toml(kind, value, here)

    def _from_toml(self, kind: Any, value: Any, here: places.Path) -> Any:
        named = named_type(kind)
        if named is not None:
            return self._named_tables(named, value, here)
        item = item_type(kind)
        if item is not None and is_table(item):
            if not isinstance(value, list):
                self._refuse(here, f"must be written [[{'.'.join(_names(here))}]]")
                return dataclasses.MISSING
            built = [self.build(item, each, (*here, n)) for n, each in enumerate(value, 1)]
            return tuple(each for each in built if each is not None)
        try:
            return convert(kind, value, self._folder)
        except ValueError as exc:
            self._refuse(here, str(exc))
            return dataclasses.MISSING

    def _named_tables(self, kind: Any, value: Any, here: places.Path) -> Any:
        if not isinstance(value, dict):
            self._refuse((*here, ""), "is not a table")
            return dataclasses.MISSING
        values = {name: self.take(kind, each, (*here, name)) for name, each in value.items()}
        return {name: each for name, each in values.items() if each is not dataclasses.MISSING}

    def _from_file(self, name: Any, here: places.Path) -> Any:
        try:
            path = Path(name)
            return Secret(
                self._read_file(self._folder.joinpath(path) if self._folder else path).strip()
            )
        except (OSError, TypeError, UnicodeDecodeError) as exc:
            self._refuse(here, f"{name!r}: {exc}")
            return dataclasses.MISSING

    def _refuse(self, path: places.Path, why: str) -> None:
        """Note a fault of a key, or of a whole table when the last part of the path is empty."""
        if self._lines is None:
            self._lines = places.find_lines(self._text)
        line = places.find_line(self._lines, path if path[-1] else path[:-1])
        where = f" (line {line})" if line is not None else ""
        place = places.format_place(path)
        colon = ":" if path[-1] else ""
        self.faults.append(f"{place}{colon} {why}{where}" if place else f"{why}{where}")


def _names(path: places.Path) -> tuple[str, ...]:
    return tuple(part for part in path if isinstance(part, str))
