"""Stores everything in one SQLite file, cloud.db: the adapter for a cloud on one machine.

The SQL of the cloud stands here and in migrations.py only. Nothing is kept outside the file.
"""

import json
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from cloud.storage.database import SqliteDatabase
from cloud.storage.records import Bep, DeviceGrant, NewerClaim, RelayAddress
from protocol.memberships import SepClaim
from protocol.records import NodeRecord, from_fields, to_fields

ACCOUNT_KEY_BYTES = 32
_SELECT_BEPS = (
    "SELECT bep_id, node_id, relay_host, relay_port, expires_at, run FROM beps "
    "WHERE NOT revoked AND expires_at > ?"
)
_NO_NODE = "node_id NOT IN (SELECT node_id FROM nodes)"
# Makes members their own supernodes.
_END_VOUCHING = (
    "UPDATE nodes SET record = json_set(record, '$.supernodeId', node_id, '$.sepHolderId', "
    "node_id), vouched_until = 0 WHERE vouched_until > 0"
)


class SqliteCloudStore:
    """The cloud's database; implements cloud.storage.ports.CloudStore."""

    def __init__(self, path: Path) -> None:
        """Open the file, made if there is none; StartError when it cannot be used."""
        self._database = SqliteDatabase(path)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    async def ping(self) -> None:
        """Return if the database answers; StoreError if not."""
        await self._database.select("SELECT 1")

    # Accounts --------------------------------------------------------------------------

    async def account_for(self, issuer: str, subject: str, now: float) -> str:
        """Return the account of a person, made at the first login."""
        account_id, key = f"acc-{secrets.token_hex(8)}", secrets.token_bytes(ACCOUNT_KEY_BYTES)

        def write(db: sqlite3.Connection) -> str:
            db.execute(
                "INSERT INTO accounts VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (issuer, subject) DO NOTHING",
                (account_id, issuer, subject, key, now),
            )
            row = db.execute(
                "SELECT account_id FROM accounts WHERE issuer = ? AND subject = ?",
                (issuer, subject),
            ).fetchone()
            return str(row[0])

        return await self._database.transact(write)

    async def account_key(self, account_id: str) -> bytes | None:
        """Return the key that members of an account share."""
        rows = await self._database.select(
            "SELECT account_key FROM accounts WHERE account_id = ?", account_id
        )
        return bytes(rows[0][0]) if rows else None

    # Nodes -----------------------------------------------------------------------------

    async def save_node(
        self,
        record: NodeRecord,
        now: float,
        limit: int,
        vouched_until: float = 0.0,
        claim: SepClaim | None = None,
    ) -> NodeRecord | NewerClaim | None:
        """Store a record, keeping the node's account; None when there are too many nodes."""

        def write(db: sqlite3.Connection) -> NodeRecord | NewerClaim | None:
            known = db.execute(
                "SELECT account_id, sep_epoch, sep_number FROM nodes WHERE node_id = ?",
                (record.node_id,),
            ).fetchone()
            if known is None:
                (count,) = db.execute("SELECT count(*) FROM nodes").fetchone()
                if count >= limit:
                    return None
                known = ("", 0, 0)
            account_id, *newest = known
            if claim is not None and claim.order < tuple(newest):
                return NewerClaim(*newest)
            stored = record.with_account(account_id or "")
            db.execute(
                "INSERT INTO nodes (node_id, record, registered_at, seen_at, vouched_until, "
                "sep_epoch, sep_number) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (node_id) DO UPDATE SET "
                "record = excluded.record, seen_at = excluded.seen_at, "
                "vouched_until = excluded.vouched_until, sep_epoch = excluded.sep_epoch, "
                "sep_number = excluded.sep_number",
                (record.node_id, json.dumps(to_fields(stored)), now, now, vouched_until,
                 *(claim.order if claim is not None else newest)),
            )  # fmt: skip
            return stored

        return await self._database.transact(write)

    async def node(self, node_id: str) -> NodeRecord | None:
        """Return a node's record."""
        rows = await self._database.select(
            "SELECT record, account_id FROM nodes WHERE node_id = ?", node_id
        )
        return _record(*rows[0]) if rows else None

    async def account_of(self, node_id: str) -> str:
        """Return the account a node belongs to, "" for none."""
        rows = await self._database.select(
            "SELECT account_id FROM nodes WHERE node_id = ?", node_id
        )
        return str(rows[0][0] or "") if rows else ""

    async def nodes_of(self, account_id: str) -> list[NodeRecord]:
        """Return the records of an account's nodes."""
        rows = await self._database.select(
            "SELECT record, account_id FROM nodes WHERE account_id = ? ORDER BY node_id", account_id
        )
        return [_record(*row) for row in rows]

    async def node_accounts(self) -> dict[str, str]:
        """Return the account of every node, "" for none, by node id."""
        rows = await self._database.select("SELECT node_id, account_id FROM nodes")
        return {node_id: account_id or "" for node_id, account_id in rows}

    async def associate(self, node_id: str, account_id: str) -> bool:
        """Make a node a member of an account; False when it is one of another or not known."""
        changed = await self._database.execute(
            "UPDATE nodes SET account_id = ? "
            "WHERE node_id = ? AND (account_id IS NULL OR account_id = ?)",
            account_id,
            node_id,
            account_id,
        )
        return changed == 1

    async def delete_node(self, node_id: str) -> bool:
        """Delete a node; False when it is not known. It no longer vouches for its members."""

        def write(db: sqlite3.Connection) -> bool:
            db.execute(f"{_END_VOUCHING} AND json_extract(record, '$.sepHolderId') = ?", (node_id,))
            return db.execute("DELETE FROM nodes WHERE node_id = ?", (node_id,)).rowcount == 1

        return await self._database.transact(write)

    # BEPs ------------------------------------------------------------------------------

    async def add_bep(self, bep: Bep, now: float, limit: int) -> bool:
        """Store a BEP; False when its node has too many that live."""

        def write(db: sqlite3.Connection) -> bool:
            (count,) = db.execute(
                "SELECT count(*) FROM beps WHERE node_id = ? AND NOT revoked AND expires_at > ?",
                (bep.node_id, now),
            ).fetchone()
            if count >= limit:
                return False
            relay = bep.relay
            db.execute(
                "INSERT INTO beps (bep_id, node_id, relay_host, relay_port, expires_at, run) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (bep.bep_id, bep.node_id, relay.host, relay.port, bep.expires_at, bep.run),
            )
            return True

        return await self._database.transact(write)

    async def beps_of(self, node_id: str, now: float) -> list[Bep]:
        """Return a node's BEPs that live."""
        return _beps(
            await self._database.select(
                f"{_SELECT_BEPS} AND node_id = ? ORDER BY expires_at, bep_id", now, node_id
            )
        )

    async def beps_at(self, relay: RelayAddress, now: float) -> list[Bep]:
        """Return the BEPs that live at a relay."""
        return _beps(
            await self._database.select(
                f"{_SELECT_BEPS} AND relay_host = ? AND relay_port = ?", now, relay.host, relay.port
            )
        )

    async def orphaned_beps(self, now: float) -> list[Bep]:
        """Return the BEPs that live though their node is deleted."""
        return _beps(await self._database.select(f"{_SELECT_BEPS} AND {_NO_NODE}", now))

    async def count_beps(self, now: float) -> int:
        """Return how many BEPs live."""
        rows = await self._database.select(
            "SELECT count(*) FROM beps WHERE NOT revoked AND expires_at > ?", now
        )
        return int(rows[0][0])

    async def count_recent_beps(self, node_id: str, now: float) -> int:
        """Return how many BEPs of a node have not expired, those that have ended included."""
        rows = await self._database.select(
            "SELECT count(*) FROM beps WHERE node_id = ? AND expires_at > ?", node_id, now
        )
        return int(rows[0][0])

    async def revoke_bep(self, bep_id: str, node_id: str) -> bool:
        """Mark a node's BEP as revoked; False when the node has no such BEP that lives."""
        changed = await self._database.execute(
            "UPDATE beps SET revoked = 1 WHERE bep_id = ? AND node_id = ? AND NOT revoked",
            bep_id,
            node_id,
        )
        return changed == 1

    async def revoked_beps(self, now: float) -> list[str]:
        """Return the revoked BEPs whose tokens have not expired; a new relay must refuse them."""
        rows = await self._database.select(
            "SELECT bep_id FROM beps WHERE revoked AND expires_at > ?", now
        )
        return [row[0] for row in rows]

    # Tokens ----------------------------------------------------------------------------

    async def use_once(self, node_id: str, jti: str, expires_at: float) -> bool:
        """Record the use of an assertion; False when it was used before."""
        changed = await self._database.execute(
            "INSERT INTO used_assertions VALUES (?, ?, ?) ON CONFLICT (node_id, jti) DO NOTHING",
            node_id,
            jti,
            expires_at,
        )
        return changed == 1

    async def add_grant(self, grant: DeviceGrant, now: float, limit: int) -> bool:
        """Store a grant in place of its node's earlier one; False when too many wait."""

        def write(db: sqlite3.Connection) -> bool:
            db.execute(
                "DELETE FROM device_grants WHERE expires_at <= ? OR node_id = ?",
                (now, grant.node_id),
            )
            (count,) = db.execute("SELECT count(*) FROM device_grants").fetchone()
            if count >= limit:
                return False
            db.execute("INSERT INTO device_grants VALUES (?, ?, ?, ?, ?, ?, ?, ?)", astuple(grant))
            return True

        return await self._database.transact(write)

    async def decide_grant(
        self, user_code: str, account_id: str, now: float, *, allow: bool
    ) -> DeviceGrant | None:
        """Record the decision of an account about a code; None when no node waits with it."""

        def write(db: sqlite3.Connection) -> DeviceGrant | None:
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

        return await self._database.transact(write)

    async def take_grant(self, device_digest: str, now: float) -> DeviceGrant | None:
        """Return a grant; one that is decided or has expired is deleted."""
        rows = await self._database.select(
            "SELECT * FROM device_grants WHERE device_digest = ?", device_digest
        )
        if not rows:
            return None
        grant = _grant(rows[0])
        if not grant.account_id and not grant.denied and grant.expires_at > now:
            return grant
        deleted = await self._database.execute(
            "DELETE FROM device_grants WHERE device_digest = ?", device_digest
        )
        return grant if deleted == 1 else None

    async def purge(self, now: float, margin_s: float) -> None:
        """Delete records that expired more than a margin ago; end expired vouching."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(f"{_END_VOUCHING} AND vouched_until < ?", (now,))
            db.execute("DELETE FROM used_assertions WHERE expires_at < ?", (now - margin_s,))
            db.execute("DELETE FROM beps WHERE expires_at < ?", (now - margin_s,))
            db.execute("DELETE FROM device_grants WHERE expires_at < ?", (now - margin_s,))

        await self._database.transact(write)


def _record(text: str, account_id: str | None) -> NodeRecord:
    return from_fields(json.loads(text)).with_account(account_id or "")


def _beps(rows: Sequence[tuple[str, str, str, int, float, str]]) -> list[Bep]:
    return [
        Bep(bep_id, node_id, RelayAddress(host, port), expires_at, run)
        for bep_id, node_id, host, port, expires_at, run in rows
    ]


def _grant(row: tuple[Any, ...]) -> DeviceGrant:
    return replace(DeviceGrant(*row), denied=bool(row[-1]))  # SQLite has numbers only
