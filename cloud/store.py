"""All that the cloud remembers, in SQLite: accounts, nodes, BEPs, used assertions.

Theory of operation
-------------------
This is the only module with SQL. Nothing here keeps state outside the database, so replicas
can share one. Two connections: reads are short and never wait for a writer (WAL), so they
may be called from the event loop; writes wait for the disk (synchronous = FULL: what was
answered survives a power cut), so callers run them with asyncio.to_thread. Both are safe to
call from any thread.
"""

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloud.errors import StartError
from cloud.signalling.bep import Bep, RelayAddress
from cloud.tokens.device_code import DeviceGrant
from protocol.records import NodeRecord, from_fields, to_fields

ACCOUNT_KEY_BYTES = 32
_SELECT_BEPS = (
    "SELECT bep_id, node_id, relay_host, relay_port, expires_at, run FROM beps "
    "WHERE NOT revoked AND expires_at > ?"
)
_NO_NODE = "node_id NOT IN (SELECT node_id FROM nodes)"
BUSY_TIMEOUT_S = 5.0

# One script per version of the schema; a database is brought up to the last. Append only.
MIGRATIONS = (
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
    """
    ALTER TABLE nodes ADD COLUMN vouched_until REAL NOT NULL DEFAULT 0;
    UPDATE nodes SET record = json_set(record, '$.supernodeId', node_id);
    CREATE INDEX nodes_by_vouching ON nodes (vouched_until) WHERE vouched_until > 0;
    """,
    "ALTER TABLE beps ADD COLUMN run TEXT NOT NULL DEFAULT '';",
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
)

# Makes members their own supernodes.
_SET_FREE = (
    "UPDATE nodes SET record = json_set(record, '$.supernodeId', node_id), vouched_until = 0 "
    "WHERE vouched_until > 0"
)


class Store:
    """The cloud's database."""

    def __init__(self, path: Path) -> None:
        try:
            path.touch(mode=0o600)
            self._writer, self._reader = _connect(path), _connect(path)
            _migrate(self._writer)
        except (OSError, sqlite3.Error) as exc:
            raise StartError(f"cannot open store {path}: {exc}") from exc
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()

    def close(self) -> None:
        """Close the database."""
        self._reader.close()
        self._writer.close()

    def ping(self) -> None:
        """Return if the database answers; sqlite3.Error if not."""
        self._rows("SELECT 1")

    # Accounts --------------------------------------------------------------------------

    def account_for(self, issuer: str, subject: str, now: float) -> str:
        """Return the account of a person, made at the first login."""
        with self._write() as db:
            db.execute(
                "INSERT INTO accounts VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (issuer, subject) DO NOTHING",
                (
                    f"acc-{secrets.token_hex(8)}",
                    issuer,
                    subject,
                    secrets.token_bytes(ACCOUNT_KEY_BYTES),
                    now,
                ),
            )
            row = db.execute(
                "SELECT account_id FROM accounts WHERE issuer = ? AND subject = ?",
                (issuer, subject),
            ).fetchone()
        return str(row[0])

    def account_key(self, account_id: str) -> bytes | None:
        """Return the key that members of an account share."""
        rows = self._rows("SELECT account_key FROM accounts WHERE account_id = ?", account_id)
        return bytes(rows[0][0]) if rows else None

    # Nodes -----------------------------------------------------------------------------

    def save_node(
        self, record: NodeRecord, now: float, limit: int, vouched_until: float = 0.0
    ) -> NodeRecord | None:
        """Store a record, keeping the node's account; None when there are too many nodes.

        The supernode of a member vouches for it until a time; then it is its own again.
        """
        with self._write() as db:
            known = db.execute(
                "SELECT account_id FROM nodes WHERE node_id = ?", (record.node_id,)
            ).fetchone()
            if known is None:
                (count,) = db.execute("SELECT count(*) FROM nodes").fetchone()
                if count >= limit:
                    return None
            stored = record.with_account((known and known[0]) or "")
            db.execute(
                "INSERT INTO nodes (node_id, record, registered_at, seen_at, vouched_until) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (node_id) DO UPDATE SET "
                "record = excluded.record, seen_at = excluded.seen_at, "
                "vouched_until = excluded.vouched_until",
                (record.node_id, json.dumps(to_fields(stored)), now, now, vouched_until),
            )
        return stored

    def node(self, node_id: str) -> NodeRecord | None:
        """Return a node's record."""
        rows = self._rows("SELECT record, account_id FROM nodes WHERE node_id = ?", node_id)
        return _record(*rows[0]) if rows else None

    def account_of(self, node_id: str) -> str:
        """Return the account a node belongs to, "" for none."""
        rows = self._rows("SELECT account_id FROM nodes WHERE node_id = ?", node_id)
        return str(rows[0][0] or "") if rows else ""

    def nodes_of(self, account_id: str) -> list[NodeRecord]:
        """Return the records of an account's nodes."""
        rows = self._rows(
            "SELECT record, account_id FROM nodes WHERE account_id = ? ORDER BY node_id", account_id
        )
        return [_record(*row) for row in rows]

    def associate(self, node_id: str, account_id: str) -> bool:
        """Make a node a member of an account; False when it is one of another or not known."""
        with self._write() as db:
            done = db.execute(
                "UPDATE nodes SET account_id = ? "
                "WHERE node_id = ? AND (account_id IS NULL OR account_id = ?)",
                (account_id, node_id, account_id),
            )
        return done.rowcount == 1

    def delete_node(self, node_id: str) -> bool:
        """Forget a node; False when it is not known. It vouches for no member any more."""
        with self._write() as db:
            db.execute(
                f"{_SET_FREE} AND json_extract(record, '$.supernodeId') = ?",
                (node_id,),
            )
            return db.execute("DELETE FROM nodes WHERE node_id = ?", (node_id,)).rowcount == 1

    # BEPs ------------------------------------------------------------------------------

    def add_bep(self, bep: Bep, now: float, limit: int) -> bool:
        """Store a BEP; False when its node has too many that live."""
        with self._write() as db:
            (count,) = db.execute(
                "SELECT count(*) FROM beps WHERE node_id = ? AND NOT revoked AND expires_at > ?",
                (bep.node_id, now),
            ).fetchone()
            if count >= limit:
                return False
            db.execute(
                "INSERT INTO beps (bep_id, node_id, relay_host, relay_port, expires_at, run) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    bep.bep_id,
                    bep.node_id,
                    bep.relay.host,
                    bep.relay.port,
                    bep.expires_at,
                    bep.run,
                ),
            )
        return True

    def beps_of(self, node_id: str, now: float) -> list[Bep]:
        """Return a node's BEPs that live."""
        rows = self._rows(
            f"{_SELECT_BEPS} AND node_id = ? ORDER BY expires_at, bep_id", now, node_id
        )
        return [_bep(*row) for row in rows]

    def beps_at(self, relay: RelayAddress, now: float) -> list[Bep]:
        """Return the BEPs that live at a relay."""
        rows = self._rows(
            f"{_SELECT_BEPS} AND relay_host = ? AND relay_port = ?", now, relay.host, relay.port
        )
        return [_bep(*row) for row in rows]

    def count_recent_beps(self, node_id: str, now: float) -> int:
        """Return how many BEPs of a node have not expired, those that have ended included."""
        sql = "SELECT count(*) FROM beps WHERE node_id = ? AND expires_at > ?"
        return int(self._rows(sql, node_id, now)[0][0])

    def revoke_bep(self, bep_id: str, node_id: str) -> bool:
        """Mark a node's BEP as revoked; False when the node has no such BEP that lives."""
        with self._write() as db:
            done = db.execute(
                "UPDATE beps SET revoked = 1 WHERE bep_id = ? AND node_id = ? AND NOT revoked",
                (bep_id, node_id),
            )
        return done.rowcount == 1

    def revoked_beps(self, now: float) -> list[str]:
        """Return the revoked BEPs whose tokens have not expired: what a new relay must refuse."""
        return [
            row[0]
            for row in self._rows("SELECT bep_id FROM beps WHERE revoked AND expires_at > ?", now)
        ]

    def orphaned_beps(self, now: float) -> list[Bep]:
        """Return the BEPs that live though their node is forgotten."""
        return [_bep(*row) for row in self._rows(f"{_SELECT_BEPS} AND {_NO_NODE}", now)]

    def count_beps(self, now: float) -> int:
        """Return how many BEPs live."""
        return int(
            self._rows("SELECT count(*) FROM beps WHERE NOT revoked AND expires_at > ?", now)[0][0]
        )

    # Tokens ----------------------------------------------------------------------------

    def use_once(self, node_id: str, jti: str, expires_at: float) -> bool:
        """Note the use of an assertion; False when it was used before."""
        with self._write() as db:
            done = db.execute(
                "INSERT INTO used_assertions VALUES (?, ?, ?) "
                "ON CONFLICT (node_id, jti) DO NOTHING",
                (node_id, jti, expires_at),
            )
        return done.rowcount == 1

    def add_grant(self, grant: DeviceGrant, now: float, limit: int) -> bool:
        """Store a grant in place of its node's earlier one; False when too many wait."""
        with self._write() as db:
            db.execute(
                "DELETE FROM device_grants WHERE expires_at <= ? OR node_id = ?",
                (now, grant.node_id),
            )
            (count,) = db.execute("SELECT count(*) FROM device_grants").fetchone()
            if count >= limit:
                return False
            db.execute(
                "INSERT INTO device_grants VALUES (?, ?, ?, ?, ?, ?, '', 0)",
                (
                    grant.device_digest,
                    grant.user_code,
                    grant.node_id,
                    grant.node_name,
                    grant.scope,
                    grant.expires_at,
                ),
            )
        return True

    def decide_grant(
        self, user_code: str, account_id: str, now: float, *, allow: bool
    ) -> DeviceGrant | None:
        """Note what an account says to a code; None when nobody waits with it."""
        with self._write() as db:
            done = db.execute(
                "UPDATE device_grants SET account_id = ?, denied = ? "
                "WHERE user_code = ? AND expires_at > ? AND account_id = '' AND NOT denied",
                (account_id if allow else "", not allow, user_code, now),
            )
            if done.rowcount != 1:
                return None
            row = db.execute(
                "SELECT * FROM device_grants WHERE user_code = ?", (user_code,)
            ).fetchone()
        return _grant(row)

    def take_grant(self, device_digest: str, now: float) -> DeviceGrant | None:
        """Return a grant; one that is decided or has expired is forgotten."""
        rows = self._rows("SELECT * FROM device_grants WHERE device_digest = ?", device_digest)
        if not rows:
            return None
        grant = _grant(rows[0])
        if not grant.account_id and not grant.denied and grant.expires_at > now:
            return grant
        with self._write() as db:
            gone = db.execute("DELETE FROM device_grants WHERE device_digest = ?", (device_digest,))
        return grant if gone.rowcount == 1 else None

    def purge(self, now: float, margin_s: float) -> None:
        """Forget what expired more than a margin ago; set free whom nobody vouches for now."""
        with self._write() as db:
            db.execute(f"{_SET_FREE} AND vouched_until < ?", (now,))
            db.execute("DELETE FROM used_assertions WHERE expires_at < ?", (now - margin_s,))
            db.execute("DELETE FROM beps WHERE expires_at < ?", (now - margin_s,))
            db.execute("DELETE FROM device_grants WHERE expires_at < ?", (now - margin_s,))

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self._read_lock:
            return self._reader.execute(sql, values).fetchall()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # SQLite ends it by itself when the disk is full
                    self._writer.execute("ROLLBACK")
                raise


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise sqlite3.DatabaseError(f"version {version} is newer than this program")
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")


def _record(text: str, account_id: str | None) -> NodeRecord:
    return from_fields(json.loads(text)).with_account(account_id or "")


def _bep(bep_id: str, node_id: str, host: str, port: int, expires_at: float, run: str) -> Bep:
    return Bep(bep_id, node_id, RelayAddress(host, port), expires_at, run)


def _grant(row: tuple[Any, ...]) -> DeviceGrant:
    return replace(DeviceGrant(*row), denied=bool(row[-1]))  # SQLite has numbers only
