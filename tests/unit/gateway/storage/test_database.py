import asyncio
import threading
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.storage.database import LocalDatabase

MIGRATIONS = ("CREATE TABLE t (a TEXT PRIMARY KEY)",)


def test_a_transaction_is_stored_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    async def run() -> None:
        database = LocalDatabase(tmp_path / "f.db", MIGRATIONS)
        await database.open()
        insert = "INSERT INTO t VALUES (?)"
        await database.write((insert, ("1",)), (insert, ("2",)))
        with pytest.raises(GatewayError, match=r"cannot write .*f\.db: UNIQUE"):
            await database.write((insert, ("3",)), (insert, ("1",)))
        assert await database.read("SELECT a FROM t ORDER BY a") == [("1",), ("2",)]
        assert "f.db" in {thread.name.rpartition("_")[0] for thread in threading.enumerate()}
        await database.close()

    asyncio.run(run())


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        database = LocalDatabase(tmp_path / "none" / "f.db", MIGRATIONS)
        with pytest.raises(GatewayError, match=r"cannot open .*f\.db"):
            await database.open()
        with pytest.raises(GatewayError, match="not open"):
            await database.read("SELECT 1")
        await database.close()

    asyncio.run(run())
