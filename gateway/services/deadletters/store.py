"""Stores dead letters in one SQLite file, within a number and a size for each container.

A letter that does not fit makes room by deleting the oldest ones of its container, which are
counted. Every method blocks and returns when it is on disk; one thread at a time may use it.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.storage.migrations import open_database

MIGRATIONS = (
    """
CREATE TABLE letter (
    number INTEGER PRIMARY KEY AUTOINCREMENT, container_id TEXT NOT NULL, at REAL NOT NULL,
    topic TEXT NOT NULL, payload BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
    error TEXT NOT NULL, trace TEXT NOT NULL, tries INTEGER NOT NULL, pairs TEXT NOT NULL,
    size INTEGER NOT NULL);
CREATE INDEX letter_of_container ON letter (container_id, number);
CREATE TABLE dropped (container_id TEXT PRIMARY KEY, letters INTEGER NOT NULL);
""",
)
OVERHEAD_BYTES = 200  # of a row besides its texts and its payload

_COLUMNS = "number, container_id, at, topic, payload, qos, retain, error, trace, tries, pairs"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that its handler could not handle; number is 0 until it is stored."""

    container_id: str
    at: float  # unix seconds
    topic: str
    payload: bytes
    qos: int
    retain: bool
    error: str
    trace: str
    tries: int
    pairs: tuple[tuple[str, str], ...] = ()  # the user properties it came with
    number: int = 0

    @property
    def size_bytes(self) -> int:
        """The approximate size on disk."""
        texts = (
            self.topic,
            self.error,
            self.trace,
            *(text for pair in self.pairs for text in pair),
        )
        return OVERHEAD_BYTES + len(self.payload) + sum(len(text.encode()) for text in texts)


@dataclass(frozen=True, slots=True)
class LetterCounts:
    """The letters of one container: kept now, their bytes, and those deleted for newer ones."""

    kept: int = 0
    size_bytes: int = 0
    dropped: int = 0


class DeadLetterStore:
    """The file; it is made for the first letter."""

    def __init__(self, path: Path, letters: int, size_bytes: int) -> None:
        self._path = path
        self._limit, self._limit_bytes = letters, size_bytes  # for each container
        self._db: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def counts(self) -> dict[str, LetterCounts]:
        """Return the counts of all containers."""
        if self._db is None and not self._path.exists():
            return {}
        found = {
            container_id: LetterCounts(kept, size)
            for container_id, kept, size in self._opened().execute(
                "SELECT container_id, count(*), sum(size) FROM letter GROUP BY container_id"
            )
        }
        for container_id, dropped in self._opened().execute("SELECT * FROM dropped"):
            one = found.get(container_id, LetterCounts())
            found[container_id] = LetterCounts(one.kept, one.size_bytes, dropped)
        return found

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Store letters, all or none."""
        with self._transaction() as db:
            for letter in letters:
                db.execute(
                    "INSERT INTO letter (container_id, at, topic, payload, qos, retain, error, "
                    "trace, tries, pairs, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        letter.container_id, letter.at, letter.topic, letter.payload, letter.qos,
                        letter.retain, letter.error, letter.trace, letter.tries,
                        json.dumps(letter.pairs), letter.size_bytes,
                    ),
                )  # fmt: skip
            for container_id in {letter.container_id for letter in letters}:
                self._make_room(db, container_id)

    def of(self, container_id: str) -> list[DeadLetter]:
        """Return the letters of a container, the oldest first."""
        return list(self._select("container_id = ? ORDER BY number", (container_id,)))

    def get(self, container_id: str, number: int) -> DeadLetter | None:
        """Return one letter."""
        where = "container_id = ? AND number = ?"
        return next(self._select(where, (container_id, number)), None)

    def delete(self, container_id: str, number: int) -> bool:
        """Delete one letter; return whether it was there."""
        with self._transaction() as db:
            return bool(
                db.execute(
                    "DELETE FROM letter WHERE container_id = ? AND number = ?",
                    (container_id, number),
                ).rowcount
            )

    def clear(self, container_id: str, *, forget: bool = False) -> int:
        """Delete all letters of a container, with forget its counter too; return how many."""
        if self._db is None and not self._path.exists():
            return 0
        with self._transaction() as db:
            cleared = db.execute("DELETE FROM letter WHERE container_id = ?", (container_id,))
            if forget:
                db.execute("DELETE FROM dropped WHERE container_id = ?", (container_id,))
            return cleared.rowcount

    def _make_room(self, db: sqlite3.Connection, container_id: str) -> None:
        (number,) = db.execute(
            "SELECT coalesce(max(number), 0) FROM ("
            " SELECT number, row_number() OVER newest AS place, sum(size) OVER newest AS together"
            " FROM letter WHERE container_id = ? WINDOW newest AS (ORDER BY number DESC)"
            ") WHERE place > ? OR (together > ? AND place > 1)",
            (container_id, self._limit, self._limit_bytes),
        ).fetchone()
        dropped = db.execute(
            "DELETE FROM letter WHERE container_id = ? AND number <= ?", (container_id, number)
        ).rowcount
        if dropped:
            db.execute(
                "INSERT INTO dropped VALUES (?, ?) ON CONFLICT (container_id) "
                "DO UPDATE SET letters = letters + excluded.letters",
                (container_id, dropped),
            )

    def _select(self, where: str, values: Sequence[object]) -> Iterator[DeadLetter]:
        if self._db is None and not self._path.exists():
            return
        sql = f"SELECT {_COLUMNS} FROM letter WHERE {where}"  # noqa: S608  # constants only
        for number, *texts, pairs in self._opened().execute(sql, values):
            container_id, at, topic, payload, qos, retain, error, trace, tries = texts
            yield DeadLetter(
                container_id, at, topic, payload, qos, bool(retain), error, trace, tries,
                tuple((name, value) for name, value in json.loads(pairs)), number,
            )  # fmt: skip

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = open_database(self._path, MIGRATIONS, shared=True)
        return self._db

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._opened())


class _Transaction:
    """Commits at the end of a block, or takes everything back."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")
