"""Runs SQL on one SQLite file, in two threads of its own.

Theory of operation
-------------------
1. No statement runs on the event loop. One thread writes and one reads, each with a connection of
   its own: with a write-ahead log a read never waits for a writer.
2. A write has reached the disk when its call returns (synchronous = FULL), so that what was
   answered survives a power cut. A transaction that fails changes nothing.
3. Every error of SQLite becomes a StoreError.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cloud.errors import StartError, StoreError
from cloud.storage.migrations import migrate

BUSY_TIMEOUT_S = 5.0  # for another process that writes, such as a backup

T = TypeVar("T")


class SqliteDatabase:
    """One database file."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, and migrate it; StartError when that fails."""
        try:
            path.touch(mode=0o600)
            self._writer, self._reader = _connect(path), _connect(path)
            migrate(self._writer)
        except (OSError, sqlite3.Error) as exc:
            raise StartError(f"cannot open store {path}: {exc}") from exc
        self._write_thread = ThreadPoolExecutor(1, f"{path.name}-writer")
        self._read_thread = ThreadPoolExecutor(1, f"{path.name}-reader")

    def close(self) -> None:
        """Wait for running statements, then close the file."""
        self._read_thread.shutdown()
        self._write_thread.shutdown()
        self._reader.close()
        self._writer.close()

    async def select(self, sql: str, *values: Any) -> list[Any]:
        """Return the rows of a query."""

        def read() -> list[Any]:
            return self._reader.execute(sql, values).fetchall()

        return await _run(self._read_thread, read)

    async def execute(self, sql: str, *values: Any) -> int:
        """Run one statement that writes; return how many rows it changed."""
        return await self.transact(lambda db: db.execute(sql, values).rowcount)

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the connection that writes, in one transaction."""

        def write() -> T:
            with _transaction(self._writer):
                return work(self._writer)

        return await _run(self._write_thread, write)


async def _run(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
    except sqlite3.Error as exc:
        raise StoreError(f"cannot use store: {exc}") from exc


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself when the disk is full
            connection.execute("ROLLBACK")
        raise


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection
