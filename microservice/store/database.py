"""Reads and writes the SQLite file of one container; every call blocks.

Theory of operation
-------------------
1. A commit is synced before it returns (write-ahead log, synchronous = FULL). After a power cut a
   key has its old value or its new one.
2. A new file is prepared under another name, synced and renamed. A file without bytes, or a log
   without its file, is therefore damage, and not a store that was about to be made: opening fails,
   and nothing is emptied.
3. The limit is a number of pages (PRAGMA max_page_count). SQLite refuses the write that would need
   more, and the transaction has no effect. The pages take three quarters of the limit; the rest is
   for the write-ahead log and for files of the service: the gateway ends a container whose data
   folder holds more than [limits] store_mib.
4. Two processes may have the file open while one takes over from the other.

A value is text or bytes, and comes back as the same type. A tag is a text by which items are found
together. Keys are in the order of their code points.
"""

import contextlib
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microservice.errors import DamagedStoreError, FullStoreError, StoreError

MIB = 1024 * 1024
KEY_LIMIT_BYTES = 1024
PAGE_BYTES = 4096
SHARE = 0.75  # of the limit
LOG_PAGES = 256  # of the write-ahead log, before SQLite copies them into the file
BUSY_S = 5.0  # another process has the file for the time of one transaction
VERSION = 1  # of the format: PRAGMA user_version
PRIMARY_CODE = 0xFF  # the last byte of an extended result code
REPAIR = "`hecate rm` and `hecate deploy` make a new one; its values are lost"

_SCHEMA = """
CREATE TABLE item (key TEXT PRIMARY KEY, value NOT NULL, tag TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX item_by_tag ON item (tag, key) WHERE tag <> '';
CREATE TABLE last_run (schedule TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
"""

Value = str | bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the store."""

    key: str
    value: Value
    tag: str = ""


class Store:
    """One open file. One thread at a time may use it."""

    def __init__(self, path: Path, limit_mib: int) -> None:
        """Open the file; make it when there is none.

        Raises:
            DamagedStoreError: it cannot be read. It stays as it is.
            StoreError: it cannot be opened or made.
        """
        self._path, self._limit_mib = path, limit_mib
        try:
            _make(path)
            self._db = _connect(path, limit_mib)
        except sqlite3.Error as exc:
            raise self._explain("open the store", exc) from exc
        except OSError as exc:
            raise StoreError(f"cannot open the store {path}: {exc.strerror or exc}") from exc

    def get(self, key: str) -> Value | None:
        """Return a value; None when the key has none."""
        rows = self._run(f"read {key!r}", "SELECT value FROM item WHERE key = ?", key)
        return rows[0][0] if rows else None

    def set(self, key: str, value: Value, tag: str = "") -> None:
        """Store a value and its tag; they are on disk when it returns.

        Raises:
            FullStoreError: there is no room; the key has its old value.
        """
        _check_key(key)
        statement = "INSERT OR REPLACE INTO item VALUES (?, ?, ?)"
        self._run(f"store {key!r}", statement, key, value, tag)

    def delete(self, key: str) -> bool:
        """Delete a value; return whether there was one."""
        deleted = self._run(f"delete {key!r}", "DELETE FROM item WHERE key = ? RETURNING key", key)
        return bool(deleted)

    def delete_tag(self, tag: str) -> int:
        """Delete all values with a tag; return their number."""
        statement = "DELETE FROM item WHERE tag = ? AND tag <> '' RETURNING 1"
        return len(self._run(f"delete the tag {tag!r}", statement, tag))

    def clear(self) -> None:
        """Delete all values."""
        self._run("delete all values", "DELETE FROM item")

    def items(
        self, prefix: str = "", tag: str | None = None, after: str = "", limit: int = 1000
    ) -> list[Item]:
        """Return entries in the order of their keys, a page of them at most.

        Args:
            prefix: of the keys.
            tag: that they have; None for any or none.
            after: the key after which the page begins.
            limit: the number of entries.
        """
        where, values = _where(prefix, tag, after)
        statement = f"SELECT key, value, tag FROM item{where} ORDER BY key LIMIT ?"  # noqa: S608  # _where() writes no value into it
        return [Item(*row) for row in self._run("read the store", statement, *values, limit)]

    def keys(
        self, prefix: str = "", tag: str | None = None, after: str = "", limit: int = 1000
    ) -> list[str]:
        """Return keys as items() does."""
        where, values = _where(prefix, tag, after)
        statement = f"SELECT key FROM item{where} ORDER BY key LIMIT ?"  # noqa: S608  # as above
        return [key for (key,) in self._run("read the store", statement, *values, limit)]

    def count(self, prefix: str = "", tag: str | None = None) -> int:
        """Return the number of entries."""
        where, values = _where(prefix, tag, "")
        statement = f"SELECT count(*) FROM item{where}"  # noqa: S608  # as above
        ((number,),) = self._run("read the store", statement, *values)
        return int(number)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the calls within it one: all of them happen, or none when one raises."""
        if self._db.in_transaction:
            raise StoreError("cannot begin a transaction: one is open already")
        self._run("begin a transaction", "BEGIN IMMEDIATE")
        try:
            yield
            self._run("end a transaction", "COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._run("undo a transaction", "ROLLBACK")
            raise

    def last_run(self, schedule: str) -> float | None:
        """Return the unix time of the last run of a schedule; None when it never ran."""
        rows = self._run("read the store", "SELECT at FROM last_run WHERE schedule = ?", schedule)
        return float(rows[0][0]) if rows else None

    def set_last_run(self, schedule: str, at: float) -> None:
        """Note the unix time of the last run of a schedule."""
        statement = "INSERT OR REPLACE INTO last_run VALUES (?, ?)"
        self._run(f"note a run of {schedule}", statement, schedule, at)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _run(self, what: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as exc:
            raise self._explain(what, exc) from exc
        except (UnicodeError, OverflowError) as exc:
            raise StoreError(f"cannot {what}: {exc}") from exc

    def _explain(self, what: str, exc: sqlite3.Error) -> StoreError:
        code = (getattr(exc, "sqlite_errorcode", 0) or 0) & PRIMARY_CODE
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return DamagedStoreError(f"cannot {what}: {self._path} is damaged ({exc}); {REPAIR}")
        if code == sqlite3.SQLITE_FULL and self._disk_has_room():
            return FullStoreError(
                f"cannot {what}: the store is full: [limits] store_mib = {self._limit_mib} "
                "of microservice.toml is too small"
            )
        return StoreError(f"cannot {what}: {self._path}: {exc}")

    def _disk_has_room(self) -> bool:
        directory = os.statvfs(self._path.parent)
        return directory.f_bavail * directory.f_frsize > MIB


def check(path: Path, limit_mib: int) -> None:
    """Read a whole file, if there is one; DamagedStoreError when it cannot be used."""
    if _is_there(path):
        store = Store(path, limit_mib)
        try:
            ((found,),) = store._run("check the store", "PRAGMA quick_check(1)")  # noqa: SLF001  # the same module
        finally:
            store.close()
        if found != "ok":
            raise DamagedStoreError(f"cannot open the store: {path} is damaged ({found}); {REPAIR}")


def _connect(path: Path, limit_mib: int) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=32
    )
    try:
        _configure(db, path, limit_mib)
    except BaseException:
        db.close()
        raise
    return db


def _configure(db: sqlite3.Connection, path: Path, limit_mib: int) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        raise StoreError(f"cannot open the store {path}: format {version} is not {VERSION}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # NORMAL does not sync each commit
    db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {LOG_PAGES * PAGE_BYTES}")
    db.execute(f"PRAGMA max_page_count = {int(SHARE * limit_mib * MIB) // PAGE_BYTES}")


def _make(path: Path) -> None:
    """Make an empty store unless there is one; a power cut leaves none or a whole one."""
    if _is_there(path):
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)  # the process that takes over may make it, too
        if _is_there(path):
            return
        scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        try:
            db = sqlite3.connect(scratch, isolation_level=None)
            with contextlib.closing(db):
                db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            scratch.chmod(0o600)
            scratch.rename(path)
        finally:
            scratch.unlink(missing_ok=True)
        os.fsync(directory)
    finally:
        os.close(directory)


def _is_there(path: Path) -> bool:
    """Return whether there is a store; DamagedStoreError when a part of it is missing."""
    log = path.with_name(f"{path.name}-wal")
    if not path.exists():
        if log.exists():
            raise DamagedStoreError(f"cannot open the store: {path} is missing; {REPAIR}")
        return False
    if not path.is_file():
        raise DamagedStoreError(f"cannot open the store: {path} is no file; {REPAIR}")
    if path.stat().st_size == 0:
        raise DamagedStoreError(f"cannot open the store: {path} is empty; {REPAIR}")
    return True


def _check_key(key: str) -> None:
    if not isinstance(key, str):
        raise StoreError(f"cannot store {key!r:.40}: a key is a text, not {type(key).__name__}")
    if not key or len(key.encode(errors="surrogatepass")) > KEY_LIMIT_BYTES:
        raise StoreError(f"cannot store {key!r:.40}: a key has 1 to {KEY_LIMIT_BYTES} bytes")


def _where(prefix: str, tag: str | None, after: str) -> tuple[str, list[str]]:
    conditions: list[tuple[str, str]] = []
    if prefix:
        conditions.append(("key >= ?", prefix))
        end = _end_of(prefix)
        if end:
            conditions.append(("key < ?", end))
    if tag is not None:
        # the index holds tagged items only; the second condition lets SQLite use it
        conditions.append(("tag = ?" if not tag else "tag <> '' AND tag = ?", tag))
    if after:
        conditions.append(("key > ?", after))
    where = " AND ".join(condition for condition, _ in conditions)
    return f" WHERE {where}" if where else "", [value for _, value in conditions]


def _end_of(prefix: str) -> str:
    """Return the first text behind all that begin with a prefix; "" when there is none."""
    while prefix:
        last = ord(prefix[-1])
        following = 0xE000 if last == 0xD7FF else last + 1  # no text has surrogates
        if following <= 0x10FFFF:
            return prefix[:-1] + chr(following)
        prefix = prefix[:-1]
    return ""
