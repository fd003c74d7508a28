"""What commands print: tables for people, JSON for programs.

Standard output carries the answer, standard error everything else. Rich leaves colours and moving
parts out by itself when it is not a terminal, or when NO_COLOR is set.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 4096


def console() -> Console:
    """Return the console for answers; plain text is not coloured by guesses."""
    return Console(highlight=False, emoji=False, markup=False)


def notes() -> Console:
    """Return the console for progress and remarks."""
    return Console(highlight=False, emoji=False, markup=False, stderr=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print rows below their headings; what to do instead when there are none goes to stderr.

    Into a pipe no cell is shortened, so that `awk` and `grep` see all of it.
    """
    if not rows:
        notes().print(empty, style="dim")
        return
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold dim")
    id_width = max(len(row[0]) for row in rows)  # a shortened one is of no use
    for position, column in enumerate(columns):
        width = id_width if position == 0 else None
        table.add_column(column, overflow="ellipsis", no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    if not out.is_terminal:
        out.width = PIPE_WIDTH
    out.print(table)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
