"""Copies the readable messages of a damaged spool: one bad page does not cost all messages."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

_INSERT = (
    "INSERT OR IGNORE INTO spool (row_id, topic, payload, retain, size) VALUES (?, ?, ?, ?, ?)"
)
_NEXT = (
    "SELECT row_id, topic, payload, retain, size FROM spool WHERE row_id > ?"
    " ORDER BY row_id LIMIT 1"
)
_LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'spool'"

_Row = tuple[int, str, bytes, int, int]


def copy_readable(damaged: Path, target: sqlite3.Connection) -> int:
    """Copy the readable messages with their row ids; return their number."""
    saved = 0
    with closing(sqlite3.connect(damaged, isolation_level=None)) as source:
        try:
            last = source.execute(_LAST).fetchone()
        except sqlite3.Error:  # not even the schema is readable
            return 0
        target.execute("BEGIN IMMEDIATE")
        for row in _readable(source, last[0] if last else 0):
            target.execute(_INSERT, row)
            saved += 1
        if last:  # a row id is never used twice
            target.execute("DELETE FROM sqlite_sequence WHERE name = 'spool'")
            target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('spool', ?)", last)
        target.execute("COMMIT")
    return saved


def _readable(source: sqlite3.Connection, last: int) -> Iterator[_Row]:
    """Yield rows in order; after an unreadable row, try each row id."""
    row_id = 0
    while row_id < last:
        try:
            row: _Row | None = source.execute(_NEXT, (row_id,)).fetchone()
        except sqlite3.Error:
            row_id += 1  # the next row is on a damaged page, at this id or at a later one
            continue
        if row is None:
            return
        row_id = row[0]
        if isinstance(row[1], str) and isinstance(row[2], bytes):
            yield row
