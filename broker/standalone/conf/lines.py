"""Reads the lines of a mosquitto.conf and of the folders it includes."""

from dataclasses import dataclass
from pathlib import Path

from broker.access.errors import AccessError
from broker.access.rights.text import read_text
from broker.standalone.errors import ConfError

MAX_DEPTH = 5  # of includes within includes; a folder may include itself


@dataclass(frozen=True, slots=True)
class ConfLine:
    """One option and its place."""

    where: str
    option: str
    value: str


def read_lines(path: Path, depth: int = 0) -> list[ConfLine]:
    """Return all options in order, those of included folders in their place."""
    if depth > MAX_DEPTH:
        raise ConfError(path, [f"include_dir goes deeper than {MAX_DEPTH}"])
    lines: list[ConfLine] = []
    try:
        text = read_text(path)
    except AccessError as exc:
        raise ConfError(path, [str(each) for each in exc.problems]) from exc
    for number, content in enumerate(text.splitlines(), 1):
        words = content.strip()
        if not words or words.startswith("#"):
            continue
        option, *rest = words.split(None, 1)
        where = f"line {number}" if not depth else f"{path} line {number}"
        value = rest[0] if rest else ""
        if option == "include_dir":
            for each in _included(Path(value), where):
                lines += read_lines(each, depth + 1)
        else:
            lines.append(ConfLine(where, option, value))
    return lines


def _included(folder: Path, where: str) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.name.endswith(".conf"))
    except OSError as exc:
        raise ConfError(folder, [f"{where}: include_dir: {(exc.strerror or '').lower()}"]) from exc
