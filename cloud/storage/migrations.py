"""Brings the schema of cloud.db to the current version, one numbered script after another.

The number of the last script that ran stands in the file (PRAGMA user_version). A script that has
been released is never changed; a change of the schema is a new script at the end. Each runs in a
transaction of its own, so that a file is at one version or at the next, also after a power cut.
"""

import sqlite3

MIGRATIONS = (
    # 1: accounts, nodes, BEPs, assertions
    """
    CREATE TABLE accounts (
        account_id TEXT PRIMARY KEY,
        issuer TEXT NOT NULL,
        subject TEXT NOT NULL,
        account_key BLOB NOT NULL,
        created_at REAL NOT NULL,
        UNIQUE (issuer, subject)
    );
    CREATE TABLE nodes (
        node_id TEXT PRIMARY KEY,
        account_id TEXT REFERENCES accounts (account_id),
        record TEXT NOT NULL,
        registered_at REAL NOT NULL,
        seen_at REAL NOT NULL
    );
    CREATE INDEX nodes_by_account ON nodes (account_id);
    CREATE TABLE beps (
        bep_id TEXT PRIMARY KEY,
        node_id TEXT NOT NULL,
        relay_host TEXT NOT NULL,
        relay_port INTEGER NOT NULL,
        expires_at REAL NOT NULL,
        revoked INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX beps_by_node ON beps (node_id);
    CREATE TABLE used_assertions (
        node_id TEXT NOT NULL,
        jti TEXT NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (node_id, jti)
    );
    CREATE INDEX used_assertions_by_expiry ON used_assertions (expires_at);
    """,
    # 2: a supernode vouches for its members; before this version none did
    """
    ALTER TABLE nodes ADD COLUMN vouched_until REAL NOT NULL DEFAULT 0;
    UPDATE nodes SET record = json_set(record, '$.supernodeId', node_id);
    CREATE INDEX nodes_by_vouching ON nodes (vouched_until) WHERE vouched_until > 0;
    """,
    # 3: a BEP has the run of its node
    "ALTER TABLE beps ADD COLUMN run TEXT NOT NULL DEFAULT '';",
    # 4: device authorisation
    """
    CREATE TABLE device_grants (
        device_digest TEXT PRIMARY KEY,
        user_code TEXT NOT NULL UNIQUE,
        node_id TEXT NOT NULL UNIQUE,
        node_name TEXT NOT NULL,
        scope TEXT NOT NULL,
        expires_at REAL NOT NULL,
        account_id TEXT NOT NULL DEFAULT '',
        denied INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX device_grants_by_expiry ON device_grants (expires_at);
    """,
    # 5: a cluster may delegate its SEP, by claims of which the newest counts
    """
    ALTER TABLE nodes ADD COLUMN sep_epoch INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE nodes ADD COLUMN sep_number INTEGER NOT NULL DEFAULT 0;
    UPDATE nodes SET record =
        json_set(record, '$.sepHolderId', json_extract(record, '$.supernodeId'));
    """,
)
LATEST_VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> None:
    """Run the scripts that a database lacks; sqlite3.DatabaseError for a newer program's file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > LATEST_VERSION:
        raise sqlite3.DatabaseError(f"version {version} is newer than this program")
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
