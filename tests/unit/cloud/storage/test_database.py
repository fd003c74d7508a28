import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloud.errors import StartError, StoreError
from cloud.storage.database import SqliteDatabase
from cloud.storage.migrations import LATEST_VERSION

INSERT = "INSERT INTO used_assertions VALUES (?, 'jti', 1)"
COUNT = "SELECT count(*) FROM used_assertions"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(tmp_path / "cloud.db")) as opened:
        yield opened


def test_no_statement_runs_on_the_thread_of_the_loop(database: SqliteDatabase) -> None:
    names: set[str] = set()

    def work(_: sqlite3.Connection) -> None:
        names.add(threading.current_thread().name)

    async def main() -> None:
        await asyncio.gather(*(database.transact(work) for _ in range(32)))

    asyncio.run(main())
    assert names == {"cloud.db-writer_0"}


def test_a_failed_transaction_changes_nothing_and_blocks_nothing(database: SqliteDatabase) -> None:
    def fail(db: sqlite3.Connection) -> None:
        db.execute(INSERT, ("a",))
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await database.transact(fail)
        assert await database.select(COUNT) == [(0,)]
        assert await database.execute(INSERT, "a") == 1
        assert await database.select(COUNT) == [(1,)]

    asyncio.run(main())


@pytest.mark.parametrize("statement", ["SELECT * FROM nothing", "not SQL"])
def test_an_error_of_sqlite_is_a_store_error(database: SqliteDatabase, statement: str) -> None:
    with pytest.raises(StoreError, match="cannot use store: "):
        asyncio.run(database.select(statement))
    with pytest.raises(StoreError, match="cannot use store: "):
        asyncio.run(database.execute(statement))


def test_a_reader_does_not_wait_for_a_writer(database: SqliteDatabase) -> None:
    has_written, may_end = threading.Event(), threading.Event()

    def write(db: sqlite3.Connection) -> None:
        db.execute(INSERT, ("a",))
        has_written.set()
        may_end.wait(10)

    async def main() -> None:
        writing = asyncio.create_task(database.transact(write))
        await asyncio.to_thread(has_written.wait, 10)
        async with asyncio.timeout(5):
            assert await database.select(COUNT) == [(0,)]
        may_end.set()
        await writing
        assert await database.select(COUNT) == [(1,)]

    asyncio.run(main())


def test_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"PRAGMA user_version = {LATEST_VERSION + 1}")
    with pytest.raises(StartError, match="newer than this program"):
        SqliteDatabase(path)


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    path.write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(StartError, match="cannot open store"):
        SqliteDatabase(path)
