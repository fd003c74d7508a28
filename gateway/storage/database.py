"""Gives the event loop access to one SQLite file through the file's own thread.

Reads happen at the start; after that the parts hold their values in memory and write through.
Every call returns after the commit has been synced.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.errors import GatewayError
from gateway.storage.disk_thread import DiskThread
from gateway.storage.migrations import open_database

Statement = tuple[str, Sequence[Any]]


class LocalDatabase:
    """One SQLite file and the one thread that reads and writes it."""

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self._path, self._migrations = path, migrations
        self._thread = DiskThread(path.name)
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file and migrate it; GatewayError when it cannot be used."""
        try:
            self._connection = await self._thread.run(open_database, self._path, self._migrations)
        except (sqlite3.Error, OSError) as exc:
            raise GatewayError(f"cannot open {self._path}: {exc}") from exc

    async def close(self) -> None:
        """Close the file after all earlier calls."""
        if self._connection is not None:
            await self._thread.run(self._connection.close)
            self._connection = None
        self._thread.close()

    async def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query."""
        try:
            return await self._thread.run(_read, self._opened(), sql, values)
        except sqlite3.Error as exc:
            raise GatewayError(f"cannot read {self._path}: {exc}") from exc

    async def write(self, *statements: Statement) -> None:
        """Run statements in one transaction; GatewayError when it is not stored."""
        try:
            await self._thread.run(_write, self._opened(), statements)
        except sqlite3.Error as exc:
            raise GatewayError(f"cannot write {self._path}: {exc}") from exc

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise GatewayError(f"cannot use {self._path}: it is not open")
        return self._connection


def _read(connection: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[Any]:
    return connection.execute(sql, values).fetchall()


def _write(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for sql, values in statements:
            connection.execute(sql, values)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
