"""Takes a TOML table apart: every key once, of the right type, and none left over."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

E = TypeVar("E", bound=Enum)

_NAMES: dict[type, str] = {str: "a text", int: "a whole number", bool: "true or false"}


class TomlTable:
    """One table and what is wrong in it; tables within it add to the same list."""

    def __init__(self, values: Any, where: str, folder: Path, problems: list[str]) -> None:
        self._where, self._folder, self._problems = where, folder, problems
        self._values: dict[str, Any] = dict(values) if isinstance(values, dict) else {}
        self._known: list[str] = []
        if not isinstance(values, dict):
            problems.append(f"[{where}] is not a table")

    def __bool__(self) -> bool:
        return bool(self._values)

    def refuse(self, key: str, why: str) -> None:
        """Note a problem."""
        section = f"[{self._where}] " if self._where else ""
        self._problems.append(f"{section}{key}: {why}")

    def text(self, key: str, default: str = "") -> str:
        """Take a text."""
        value = self._take(key, default)
        return value if self._is(key, value, str) else default

    def flag(self, key: str) -> bool:
        """Take true or false."""
        value = self._take(key, default=False)
        return self._is(key, value, bool) and bool(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of texts."""
        values = self._take(key, [])
        if isinstance(values, list) and all(isinstance(each, str) for each in values):
            return tuple(values)
        self.refuse(key, f"{values!r} is not a list of texts")
        return ()

    def number(self, key: str, default: float, *, above: float, or_zero: bool = False) -> float:
        """Take a number of the default's type."""
        value = self._take(key, default)
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if not isinstance(value, int | float) or type(value) is not type(default):
            self.refuse(key, f"{value!r} is not {_NAMES.get(type(default), 'a number')}")
            return default
        if or_zero and value == 0:
            return value
        if not value > above or value == float("inf"):
            self.refuse(key, f"{value!r} must be above {above:g}{', or 0' if or_zero else ''}")
            return default
        return value

    def path(self, key: str) -> Path | None:
        """Take a path; it starts at the folder of the file."""
        value = self._take(key, None)
        if value is None or not self._is(key, value, str):
            return None
        if not value:
            self.refuse(key, "is empty")
            return None
        return self._folder.joinpath(value)

    def choice(self, key: str, default: E) -> E:
        """Take one of an enumeration's values."""
        value = self._take(key, default.value)
        allowed = [each.value for each in type(default)]
        if value not in allowed:
            self.refuse(key, f"{value!r} must be one of {', '.join(allowed)}")
            return default
        return type(default)(value)

    def table(self, key: str) -> TomlTable:
        """Take a table within; an empty one when there is none."""
        return TomlTable(self._take(key, {}), self._inner(key), self._folder, self._problems)

    def tables(self, key: str) -> Iterator[TomlTable]:
        """Take an array of tables."""
        values = self._take(key, [])
        if not isinstance(values, list):
            self.refuse(key, f"must be written [[{key}]]")
            return
        for number, value in enumerate(values, 1):
            yield TomlTable(value, f"{self._inner(key)} {number}", self._folder, self._problems)

    def has(self, key: str) -> bool:
        """Return whether a key is given and not taken yet."""
        return key in self._values

    def know(self, *keys: str) -> None:
        """Name keys as known that are only taken when they are there."""
        self._known += [key for key in keys if key not in self._known]

    def end(self) -> None:
        """Refuse what nobody took."""
        for key in self._values:
            self.refuse(key, f"is not known; known are {', '.join(sorted(self._known))}")

    def _take(self, key: str, default: Any) -> Any:
        self._known.append(key)
        return self._values.pop(key, default)

    def _is(self, key: str, value: Any, kind: type) -> bool:
        if type(value) is kind:
            return True
        self.refuse(key, f"{value!r} is not {_NAMES[kind]}")
        return False

    def _inner(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key
