"""Finds the lines of a TOML text on which its keys stand.

A path names a key from the outside in; a number counts the tables of an array from 1:
("listener", 2, "address") is `address` in the second [[listener]].
"""

import re
import tomllib
from collections import Counter

Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(?:#.*)?$")
_PART = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")


def format_place(path: Path) -> str:
    """Return "[section] key"; the section is empty for a key at the top of a file."""
    *tables, key = path
    section = ""
    for part in tables:
        section += f" {part}" if isinstance(part, int) else f".{part}" if section else part
    return f"[{section}] {key}".strip() if section else str(key)


def find_lines(text: str) -> dict[Path, int]:
    """Return the line of each table and key of a valid TOML text, counted from 1."""
    lines = text.split("\n")
    found: dict[Path, int] = {}
    arrays: Counter[Path] = Counter()
    table: Path = ()
    number = 0
    while number < len(lines):
        header = _HEADER.match(lines[number])
        key = _KEY.match(lines[number])
        last = number
        if header is not None:
            table = _enter(_split(header[2]), header[1] == "[[", arrays)
            found.setdefault(table, number + 1)
        elif key is not None:
            found[(*table, *_split(key[1]))] = number + 1
            last = _find_end(lines, number)
        number = last + 1
    return found


def find_line(lines: dict[Path, int], path: Path) -> int | None:
    """Return the line of a key, or of the innermost table around it that has one."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def _enter(names: tuple[str, ...], is_item: bool, arrays: "Counter[Path]") -> Path:
    """Return the path of a table, with the numbers of the arrays on the way."""
    path: Path = ()
    for depth, name in enumerate(names, 1):
        path = (*path, name)
        if is_item and depth == len(names):
            arrays[path] += 1
        if arrays[path]:
            path = (*path, arrays[path])
    return path


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip(" \t\"'") for part in dotted.split("."))


def _find_end(lines: list[str], first: int) -> int:
    """Return the last line of a value; arrays and texts in three quotes may have several."""
    for last in range(first, len(lines)):
        try:
            tomllib.loads("\n".join(lines[first : last + 1]))
        except tomllib.TOMLDecodeError:
            continue
        return last
    return first
