"""Files of every released version load, with all that they hold."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cloud.storage.migrations import LATEST_VERSION
from cloud.storage.records import Bep, DeviceGrant, RelayAddress
from cloud.storage.sqlite import SqliteCloudStore
from protocol.records import Address, NodeRecord, OfferedService
from tests.unit.cloud.storage.blocking import Blocking

FILES = Path(__file__).parent / "files"  # dumps of files that each version has written
VERSIONS = range(1, LATEST_VERSION + 1)

A, B = "a" * 56, "b" * 56
ACCOUNT = "acc-0123456789abcdef"
NOW, EXPIRES = 100.0, 4e9
RECORD = NodeRecord(
    A, "one", "1", B, b"key", ACCOUNT, (Address("local", "http://x"),),
    (OfferedService("s", "t", "/p"),),
)  # fmt: skip


def load(version: int, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.executescript((FILES / f"cloud-{version}.sql").read_text())
        assert database.execute("PRAGMA user_version").fetchone() == (version,)
    return path


def schema(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (LATEST_VERSION,)
        rows = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        return [" ".join(sql.split()) for (sql,) in rows]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_of_a_version_loads_with_all_that_it_holds(version: int, tmp_path: Path) -> None:
    with closing(SqliteCloudStore(load(version, tmp_path / "cloud.db"))) as opened:
        store = Blocking(opened)
        # Until version 2 no supernode vouched for its members: they become their own supernodes.
        record = RECORD if version >= 2 else replace(RECORD, supernode_id=A)
        assert store.node(A) == record
        assert store.account_for("https://issuer", "subject", NOW) == ACCOUNT
        assert store.account_key(ACCOUNT) == bytes(range(32))
        run = "run-1" if version >= 3 else ""
        assert store.beps_of(A, NOW) == [
            Bep("x" * 22, A, RelayAddress("relay", 8443), EXPIRES, run)
        ]
        assert store.revoked_beps(NOW) == ["y" * 22]
        assert not store.use_once(A, "jti", EXPIRES)
        grant = DeviceGrant("digest", "BCDFGHJK", A, "one", "edge:account:associate", EXPIRES)
        assert store.take_grant("digest", NOW) == (grant if version >= 4 else None)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_migrated_file_has_the_schema_of_a_new_one(version: int, tmp_path: Path) -> None:
    path = load(version, tmp_path / "cloud.db")
    for each in (path, tmp_path / "new.db"):
        SqliteCloudStore(each).close()
    assert schema(path) == schema(tmp_path / "new.db")


def test_a_migration_that_fails_leaves_the_file_at_its_version(tmp_path: Path) -> None:
    path = load(1, tmp_path / "cloud.db")
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE device_grants (x)")  # script 4 makes that table, too
    with pytest.raises(Exception, match="cannot open store"):
        SqliteCloudStore(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (3,)
