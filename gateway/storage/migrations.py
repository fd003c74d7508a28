"""Opens SQLite files of a gateway and migrates them to the current version of their format.

Theory of operation
-------------------
`PRAGMA user_version` counts the migrations that a file has had. Migration N changes a file of
version N to version N + 1, in one transaction together with the count, so a power cut leaves a
file of one version or of the next. A migration is never edited once a release has run it: a
change of the format is a new migration at the end of the list.

Releases before this module made tables without a version. Migration 0 of each file therefore uses
CREATE TABLE IF NOT EXISTS and accepts the tables of those releases.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path


def open_database(
    path: Path, migrations: Sequence[str], *, shared: bool = False
) -> sqlite3.Connection:
    """Return a connection in autocommit mode to a file of the current version.

    Every commit is synced before it returns. A shared connection may pass between threads, one at
    a time.

    Raises:
        sqlite3.Error, OSError: the file cannot be used, or a newer gateway has written it.
    """
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=not shared)
    try:
        path.chmod(0o600)
        version = _known_version(database, len(migrations))
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")  # NORMAL does not sync each commit
        for number, script in enumerate(migrations[version:], version + 1):
            database.executescript(
                f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;"
            )
    except BaseException:
        database.close()
        raise
    return database


def read_version(database: sqlite3.Connection) -> int:
    """Return the number of migrations that a file has had."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _known_version(database: sqlite3.Connection, latest: int) -> int:
    version = read_version(database)
    if version > latest:
        raise sqlite3.OperationalError(f"it is of version {version}, made by a newer gateway")
    return version
