import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gateway.services.images import catalogue
from gateway.spool import file
from gateway.storage import gateway_file
from gateway.storage.migrations import open_database, read_version

FIRST = "CREATE TABLE IF NOT EXISTS t (a TEXT)"
SECOND = "ALTER TABLE t ADD COLUMN b TEXT NOT NULL DEFAULT 'x'"

# the tables of releases without a version, word for word
OLD_SPOOL = (
    "CREATE TABLE spool (row_id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL,"
    " payload BLOB NOT NULL, retain INTEGER NOT NULL, size INTEGER NOT NULL);"
    "INSERT INTO spool (topic, payload, retain, size) VALUES ('a', x'01', 0, 34);"
)
OLD_CATALOGUE = (
    "CREATE TABLE image (image_id TEXT PRIMARY KEY, client_id TEXT NOT NULL, name TEXT NOT NULL,"
    " repo_tags TEXT NOT NULL, digest TEXT NOT NULL, runtime TEXT NOT NULL,"
    " size INTEGER NOT NULL, created REAL NOT NULL);"
    "CREATE TABLE container (container_id TEXT PRIMARY KEY, client_id TEXT NOT NULL,"
    " name TEXT NOT NULL, image_id TEXT NOT NULL, env TEXT NOT NULL, created REAL NOT NULL,"
    " digest TEXT NOT NULL, runtime TEXT NOT NULL, filters TEXT NOT NULL);"
    "INSERT INTO container VALUES ('c', 'api', 'c', 'i', '{}', 1.0, 'd', 'python', '[]');"
)
OLD_GATEWAY = (
    "CREATE TABLE devices (device_id TEXT PRIMARY KEY, name TEXT NOT NULL, model TEXT NOT NULL,"
    " token_digest TEXT NOT NULL, joined_at REAL NOT NULL, claim_digest TEXT NOT NULL,"
    " client_id TEXT NOT NULL, confirmed INTEGER NOT NULL, last_seen REAL NOT NULL);"
    "CREATE TABLE claims (digest TEXT PRIMARY KEY, uses INTEGER NOT NULL,"
    " expires_at REAL NOT NULL);"
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL);"
    "INSERT INTO settings VALUES ('account id', x'61');"
)


def make_old(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)


def test_a_new_file_has_all_migrations(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "f.db", (FIRST, SECOND))) as database:
        assert read_version(database) == 2
        database.execute("INSERT INTO t (a) VALUES ('1')")
        assert database.execute("SELECT * FROM t").fetchall() == [("1", "x")]
    assert (tmp_path / "f.db").stat().st_mode & 0o777 == 0o600


def test_each_migration_runs_once(tmp_path: Path) -> None:
    for migrations in ((FIRST,), (FIRST, SECOND), (FIRST, SECOND)):
        with closing(open_database(tmp_path / "f.db", migrations)) as database:
            assert read_version(database) == len(migrations)


def test_a_migration_that_fails_leaves_the_old_version(tmp_path: Path) -> None:
    broken = f"{SECOND}; INSERT INTO missing VALUES (1)"
    open_database(tmp_path / "f.db", (FIRST,)).close()
    with pytest.raises(sqlite3.OperationalError, match="missing"):
        open_database(tmp_path / "f.db", (FIRST, broken))
    with closing(open_database(tmp_path / "f.db", (FIRST, SECOND))) as database:
        assert read_version(database) == 2


def test_a_file_of_a_newer_gateway_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    open_database(tmp_path / "f.db", (FIRST, SECOND)).close()
    before = (tmp_path / "f.db").read_bytes()
    with pytest.raises(sqlite3.OperationalError, match="version 2, made by a newer gateway"):
        open_database(tmp_path / "f.db", (FIRST,))
    assert (tmp_path / "f.db").read_bytes() == before


@pytest.mark.parametrize(
    ("migrations", "old", "query", "expected"),
    [
        (file.MIGRATIONS, OLD_SPOOL, "SELECT topic, payload FROM spool", ("a", b"\x01")),
        (file.MIGRATIONS, OLD_SPOOL, "SELECT count(*) FROM set_aside", (0,)),
        (catalogue.MIGRATIONS, OLD_CATALOGUE, "SELECT stopped FROM container", (0,)),
        (gateway_file.MIGRATIONS, OLD_GATEWAY, "SELECT value FROM settings", (b"a",)),
    ],
)
def test_files_of_releases_without_a_version_are_migrated(
    tmp_path: Path, migrations: Sequence[str], old: str, query: str, expected: tuple[object, ...]
) -> None:
    make_old(tmp_path / "f.db", old)
    for _ in range(2):
        with closing(open_database(tmp_path / "f.db", migrations)) as database:
            assert database.execute(query).fetchall() == [expected]
            assert read_version(database) == len(migrations)
