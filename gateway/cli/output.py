"""Prints the results of commands: tables for people, JSON for programs.

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
GAP = 3  # between columns


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
    """Print rows below their headings; without rows print a hint to stderr.

    Into a pipe no cell is shortened, so that `awk` and `grep` see all of it. In a terminal that is
    too narrow for the table, each cell stands on a line of its own.
    """
    if not rows:
        notes().print(empty, style="dim", soft_wrap=True)
        return
    out = console()
    if not out.is_terminal:
        out.width = PIPE_WIDTH
    cells = [[Text(_printable(cell)) for cell in row] for row in rows]
    titles = [Text(column, style="bold dim") for column in columns]
    widths = [max(cell.cell_len for cell in column) for column in zip(titles, *cells, strict=True)]
    if sum(widths) + GAP * (len(widths) - 1) > out.width:
        _print_records(out, titles, cells)
        return
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=False)
    for width in widths:
        table.add_column(no_wrap=True, min_width=width)
    for row in (titles, *cells):
        table.add_row(*row)
    out.print(table)


def _print_records(out: Console, titles: Sequence[Text], rows: Sequence[Sequence[Text]]) -> None:
    width = max(title.cell_len for title in titles) + GAP
    for number, row in enumerate(rows):
        if number:
            out.print()
        for title, cell in zip(titles, row, strict=True):
            name = title.copy()
            name.pad_right(width - title.cell_len)
            out.print(Text.assemble(name, cell), soft_wrap=True)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
