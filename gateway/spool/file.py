"""Reads and writes spool.db, synced at each commit; only the thread of the spool calls it.

Theory of operation
-------------------
Version 0 of the file has the table of messages; version 1 adds the table of messages set aside.

A full disk: deletion needs space, too, because SQLite writes each changed page to the log first.
So the spool reserves some. When a batch that deletes finds the disk full, the spool releases the
reserve, deletes acknowledged messages in small steps, and stores new messages in the pages that
became free. When no message remains to deliver, a new file replaces the old one, and the file
system gets the space back. The spool takes the reserve again as soon as there is space for it.
"""

import logging
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from gateway.spool.disk_reserve import DiskReserve
from gateway.spool.rescue import copy_readable
from gateway.spool.set_aside import ASIDE_LIMIT_BYTES, INSERT, MOVE, read_latest, trim
from gateway.spool.values import (
    REASON_CHARACTERS,
    Append,
    SpoolContents,
    SpoolEntry,
    WhenFull,
    WriteBatch,
    WriteResult,
)
from gateway.storage.migrations import open_database

logger = logging.getLogger(__name__)

RESERVE_BYTES = 1024 * 1024
DELETED_AT_ONCE = 64  # rows, on a full disk: their pages fit into the reserve many times
LOG_PAGES = 256  # of 4 KiB, in the write-ahead log before a checkpoint

MIGRATIONS = (
    """
CREATE TABLE IF NOT EXISTS spool (
    row_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    topic   TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain  INTEGER NOT NULL,
    size    INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS set_aside (
    row_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    topic   TEXT NOT NULL,
    payload BLOB,
    retain  INTEGER NOT NULL,
    size    INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    at      REAL NOT NULL
);
""",
)
_INSERT = "INSERT INTO spool (topic, payload, retain, size) VALUES (?, ?, ?, ?)"
_FAILURES = (sqlite3.Error, OSError, ValueError, OverflowError)


class SpoolFile:
    """The file of the spool; open(), close() and read() may raise sqlite3.Error or OSError."""

    def __init__(self, path: Path, limit_bytes: int, when_full: WhenFull) -> None:
        self._path, self._limit_bytes = path, limit_bytes
        self._drops_oldest = when_full is WhenFull.DROP_OLDEST
        self._aside_bytes = min(ASIDE_LIMIT_BYTES, limit_bytes // 4)
        reserve_bytes = min(RESERVE_BYTES, max(limit_bytes // 4, 64 * 1024))
        self._reserve = DiskReserve(path.with_name(f"{path.name}.reserve"), reserve_bytes)
        self._is_short = False  # of disk space, until the reserve is held again
        self._opened: sqlite3.Connection | None = None
        self._held = SpoolContents()

    def open(self) -> SpoolContents:
        """Open the file; keep a damaged one under another name and start a new one."""
        try:
            self._open_database()
        except sqlite3.OperationalError:
            if not self._reserve.release():
                raise
            self._is_short = True
            self._open_database()
        except sqlite3.DatabaseError as exc:
            self._replace_damaged(exc)
        self._reserve.take()
        return self._held

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()

    def read(self, after: int, limit: int, limit_bytes: int) -> list[SpoolEntry]:
        """Return the oldest messages beyond a row: at least one, as many as the limits allow."""
        try:
            return _read(self._database, after, limit, limit_bytes)
        except sqlite3.DatabaseError as exc:
            self._replace_damaged(exc)
            return _read(self._database, after, limit, limit_bytes)

    def write(self, work: WriteBatch) -> WriteResult:
        """Write a batch and return its result; raises no error of the disk or of SQLite."""
        count = len(work.appends)
        if self._is_short and not self._reserve.take():
            return self._write_on_full_disk(work, "no space left on the disk")
        try:
            dropped = self._commit(work, work.appends)
            return self._done([True] * count, dropped)
        except _FAILURES as exc:
            if _is_disk_full(exc):
                return self._write_on_full_disk(work, str(exc))
            if count < 2 or not _lies_in_a_row(exc):
                return self._done([False] * count, 0, str(exc), is_rest_done=False)
        return self._write_one_by_one(work)

    @property
    def _database(self) -> sqlite3.Connection:
        if self._opened is None:
            self._open_database()
        assert self._opened is not None  # _open_database() raises otherwise
        return self._opened

    def _open_database(self) -> None:
        self._opened = _open(self._path)
        messages, size = self._opened.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM spool"
        ).fetchone()
        self._held = SpoolContents(messages, size, *read_latest(self._opened))

    def _replace_damaged(self, exc: sqlite3.DatabaseError) -> None:
        """Continue with a new file and the readable messages; keep the old file."""
        if type(exc) is not sqlite3.DatabaseError:  # subclasses stand for other faults
            raise exc
        self.close()
        self._opened = None
        aside = self._path.with_name(f"{self._path.name}.damaged")
        for suffix in ("", "-wal", "-shm"):
            _move(Path(f"{self._path}{suffix}"), Path(f"{aside}{suffix}"))
        database = _open(self._path)
        saved = copy_readable(aside, database)
        database.close()
        self._open_database()
        logger.warning(
            "spool %s is damaged (%s); saved %d messages, kept the damaged file as %s",
            self._path, exc, saved, aside.name,
        )  # fmt: skip

    def _write_one_by_one(self, work: WriteBatch) -> WriteResult:
        """Write each message alone: one that SQLite refuses does not cost the others."""
        stored, dropped, error = [], 0, ""
        rest = work
        for append in work.appends:
            try:
                dropped += self._commit(rest, [append])
                rest = WriteBatch()
                stored.append(True)
            except _FAILURES as exc:
                stored.append(False)
                error = str(exc)
        return self._done(stored, dropped, error, is_rest_done=rest is not work)

    def _write_on_full_disk(self, work: WriteBatch, error: str) -> WriteResult:
        """Delete first; then store the messages that fit into free pages of the file."""
        if work.watermark or work.asides or self._drops_oldest:
            self._reserve.release()
        self._is_short = True
        count, dropped = len(work.appends), 0
        stored = is_rest_done = False
        try:
            self._delete_in_steps(work.watermark)
            self._commit(replace(work, appends=[]), [])
            is_rest_done = True
        except _FAILURES as exc:
            error = str(exc)
        try:
            if is_rest_done or not work.asides:
                is_rest_done = self._renew_if_empty(work.watermark) or is_rest_done
            if self._drops_oldest and not self._fits(work.appends):
                dropped = self._drop_oldest(2 * sum(append.size for append in work.appends))
            if count and self._fits(work.appends):
                self._commit(WriteBatch(), work.appends)
                stored = True
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except _FAILURES as exc:
            error = str(exc)
        shown = error if (count and not stored) or not is_rest_done else ""
        return self._done([stored] * count, dropped, shown, is_rest_done=is_rest_done)

    def _fits(self, appends: list[Append]) -> bool:
        """Return whether messages fit without the reserve, which is for deletions."""
        if self._reserve.take():
            self._is_short = False
            return True
        pages, page_bytes = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("freelist_count", "page_size")
        )
        # half of the space: rows do not fill pages
        return bool(2 * sum(append.size for append in appends) <= pages * page_bytes)

    def _delete_in_steps(self, watermark: int) -> None:
        database = self._database
        while True:
            last, count, size = database.execute(
                "SELECT max(row_id), count(*), coalesce(sum(size), 0) FROM (SELECT row_id, size"
                " FROM spool WHERE row_id <= ? ORDER BY row_id LIMIT ?)",
                (watermark, DELETED_AT_ONCE),
            ).fetchone()
            if not count:
                return
            database.execute("DELETE FROM spool WHERE row_id <= ?", (last,))
            self._count(-count, -size)
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _commit(self, work: WriteBatch, appends: list[Append]) -> int:
        """Write in one transaction; return the number of oldest messages dropped."""
        database, before = self._database, replace(self._held)
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(_INSERT, [(a.topic, a.payload, a.retain, a.size) for a in appends])
            self._count(len(appends), sum(append.size for append in appends))
            self._set_aside(work)
            if work.watermark:
                self._delete_until(work.watermark)
            excess_bytes = self._held.bytes - self._limit_bytes
            dropped = self._drop_oldest(excess_bytes) if self._drops_oldest else 0
            database.execute("COMMIT")
        except BaseException:
            self._held = before
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return dropped

    def _drop_oldest(self, excess_bytes: int) -> int:
        if excess_bytes <= 0:
            return 0
        last, freed = 0, 0
        rows = self._database.execute("SELECT row_id, size FROM spool ORDER BY row_id")
        with closing(rows):
            for row_id, size in rows:
                last, freed = row_id, freed + size
                if freed >= excess_bytes:
                    break
        return self._delete_until(last)

    def _delete_until(self, row_id: int) -> int:
        """Delete all messages up to a row; return their number."""
        database = self._database
        count, size = database.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM spool WHERE row_id <= ?", (row_id,)
        ).fetchone()
        database.execute("DELETE FROM spool WHERE row_id <= ?", (row_id,))
        self._count(-count, -size)
        return int(count)

    def _count(self, messages: int, size: int) -> None:
        held = self._held
        self._held = replace(held, messages=held.messages + messages, bytes=held.bytes + size)

    def _set_aside(self, work: WriteBatch) -> None:
        if not work.asides and not work.unstored:
            return
        database = self._database
        for row_id, reason in work.asides:
            database.execute(MOVE, (reason[:REASON_CHARACTERS], work.now, row_id))
            row = database.execute("SELECT size FROM spool WHERE row_id = ?", (row_id,)).fetchone()
            if row is not None:
                database.execute("DELETE FROM spool WHERE row_id = ?", (row_id,))
                self._count(-1, -row[0])
        database.executemany(
            INSERT,
            [
                (a.topic, a.payload, a.retain, a.size, reason[:REASON_CHARACTERS], work.now)
                for a, reason in work.unstored
            ],
        )
        trim(database, self._aside_bytes)
        aside, latest = read_latest(database)
        self._held = replace(self._held, aside=aside, latest=latest)

    def _done(
        self, stored: list[bool], dropped: int, error: str = "", *, is_rest_done: bool = True
    ) -> WriteResult:
        if not error and self._reserve.take():
            self._is_short = False
        return WriteResult(self._held, stored, dropped, error, is_rest_done)

    def _renew_if_empty(self, watermark: int) -> bool:
        """Replace the file by a new one if no message remains to deliver; return whether."""
        database = self._database
        if database.execute("SELECT 1 FROM spool WHERE row_id > ?", (watermark,)).fetchone():
            return False
        asides = database.execute(
            "SELECT topic, payload, retain, size, reason, at FROM set_aside ORDER BY row_id"
        ).fetchall()
        sequences = database.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
        database.close()
        self._opened = None  # until the next use opens it
        self._path.unlink(missing_ok=True)
        _remove_log(self._path)
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        database.executemany(INSERT, asides)
        database.execute("DELETE FROM sqlite_sequence")
        database.executemany("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", sequences)
        database.execute("COMMIT")
        self._held = SpoolContents(0, 0, *read_latest(database))
        logger.info("replaced spool %s by a new file: the disk was full", self._path)
        return True


def _read(
    database: sqlite3.Connection, after: int, limit: int, limit_bytes: int
) -> list[SpoolEntry]:
    entries: list[SpoolEntry] = []
    total = 0
    rows = database.execute(
        "SELECT row_id, topic, payload, retain FROM spool WHERE row_id > ? ORDER BY row_id LIMIT ?",
        (after, limit),
    )
    with closing(rows):
        for row_id, topic, stored, retain in rows:
            # SQLite stores any type in any column, and a bad disk returns any bits
            payload = stored if isinstance(stored, bytes) else str(stored).encode()
            total += len(payload)
            if entries and total > limit_bytes:
                break
            entries.append(SpoolEntry(row_id, str(topic), payload, bool(retain)))
    return entries


def _move(source: Path, target: Path) -> None:
    if source.exists():
        source.replace(target)
    else:
        target.unlink(missing_ok=True)


def _open(path: Path) -> sqlite3.Connection:
    database = open_database(path, MIGRATIONS)
    try:
        database.text_factory = _decode
        database.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        database.execute("SELECT count(*) FROM spool").fetchone()
    except BaseException:
        database.close()
        raise
    return database


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")  # an unreadable row would block all rows behind it


def _remove_log(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _is_disk_full(exc: Exception) -> bool:
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _lies_in_a_row(exc: Exception) -> bool:
    """Return whether an error lies in a value, not in the file or in a lock on it."""
    return not isinstance(exc, OSError | sqlite3.OperationalError) and (
        type(exc) is not sqlite3.DatabaseError
    )
