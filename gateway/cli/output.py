"""Prints the results of commands: tables for people, JSON for programs.

Standard output carries the answer, standard error everything else. Rich leaves colours and moving
parts out by itself when it is not a terminal, or when NO_COLOR is set.
"""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.view.words import printable

if TYPE_CHECKING:
    from rich.progress import Progress

PIPE_WIDTH = 4096
GAP = 3  # between columns


def console() -> Console:
    """Return the console for answers; plain text is not coloured by guesses."""
    return Console(highlight=False, emoji=False, markup=False)


def notes() -> Console:
    """Return the console for progress and remarks."""
    return Console(highlight=False, emoji=False, markup=False, stderr=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON; with escapes where the terminal has no UTF-8."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=not is_utf8) + "\n")


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    empty: str,
    optional: frozenset[str] = frozenset(),
) -> None:
    """Print rows below their headings; without rows print a hint to stderr.

    Into a pipe no cell is shortened and no column left out, so that `awk` and `grep` see all of
    it. A terminal does not see optional columns that have nothing but "" and "0". In one that is
    too narrow for the table, each cell stands on a line of its own.
    """
    if not rows:
        notes().print(empty, style="dim", soft_wrap=True)
        return
    out = console()
    if out.is_terminal:
        columns, rows = _without_needless(columns, rows, optional)
    else:
        out.width = PIPE_WIDTH
    cells = [[Text(printable(cell).replace("\t", " ")) for cell in row] for row in rows]
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


def _without_needless(
    columns: Sequence[str], rows: Sequence[Sequence[str]], optional: frozenset[str]
) -> tuple[list[str], list[list[str]]]:
    kept = [
        position
        for position, column in enumerate(columns)
        if column not in optional or any(row[position] not in ("", "0") for row in rows)
    ]
    return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _print_records(out: Console, titles: Sequence[Text], rows: Sequence[Sequence[Text]]) -> None:
    width = max(title.cell_len for title in titles) + GAP
    for number, row in enumerate(rows):
        if number:
            out.print()
        for title, cell in zip(titles, row, strict=True):
            name = title.copy()
            name.pad_right(width - title.cell_len)
            out.print(Text.assemble(name, cell), soft_wrap=True)


def transfer_progress() -> "Progress":
    """Return the progress bar of a transfer, with bytes and speed; a pipe sees nothing of it."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    out = notes()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    )
