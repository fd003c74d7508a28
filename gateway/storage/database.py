"""Stores devices, claims, account and settings in gateway.db.

Reads happen once, at the start; after that the parts hold what they need and write through.
Every method returns after the commit has been synced. All SQL runs in one thread of its own.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from gateway.devices.claims import Claim
from gateway.devices.registry import DeviceRecord
from gateway.errors import GatewayError

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS devices (
    device_id    TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    model        TEXT NOT NULL,
    token_digest TEXT NOT NULL,
    joined_at    REAL NOT NULL,
    claim_digest TEXT NOT NULL,
    client_id    TEXT NOT NULL,
    confirmed    INTEGER NOT NULL,
    last_seen    REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS claims (
    digest     TEXT PRIMARY KEY,
    uses       INTEGER NOT NULL,
    expires_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
);
"""


class GatewayDatabase:
    """The gateway's database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._database: sqlite3.Connection

    async def open(self) -> None:
        """Open the file; GatewayError when it cannot be used."""
        try:
            self._database = await self._run(lambda: _open(self._path))
        except (sqlite3.Error, OSError) as exc:
            raise GatewayError(f"cannot open {self._path}: {exc}") from exc

    async def close(self) -> None:
        """Close the file after what was asked before."""
        await self._run(lambda: self._database.close())
        self._thread.shutdown(wait=False)

    async def devices(self) -> list[DeviceRecord]:
        """Return the devices that joined, in the order of joining."""
        rows = await self._read(
            "SELECT device_id, name, model, token_digest, joined_at, claim_digest, client_id,"
            " confirmed, last_seen FROM devices ORDER BY joined_at, device_id"
        )
        devices = [DeviceRecord(*row) for row in rows]
        for device in devices:
            device.confirmed = bool(device.confirmed)  # SQLite has numbers only
        return devices

    async def claims(self) -> list[Claim]:
        """Return the claim tokens."""
        return [
            Claim(*row) for row in await self._read("SELECT digest, uses, expires_at FROM claims")
        ]

    async def settings(self) -> dict[str, bytes]:
        """Return what the parts asked to keep."""
        return dict(await self._read("SELECT name, value FROM settings"))

    async def save_join(self, device: DeviceRecord, claim: Claim | None) -> None:
        """Keep a device and what its join left of the claim, both or neither."""
        d = device
        statements: list[tuple[str, Sequence[Any]]] = [
            (
                "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (d.device_id, d.name, d.model, d.token_digest, d.joined_at, d.claim_digest,
                 d.client_id, d.confirmed, d.last_seen),
            )
        ]  # fmt: skip
        if claim is not None:
            statements.append(_save_claim(claim))
        await self._write(statements)

    async def confirm_device(self, device_id: str) -> None:
        """Keep that a device has logged in with its own credentials."""
        await self._write([("UPDATE devices SET confirmed = 1 WHERE device_id = ?", (device_id,))])

    async def save_seen(self, seen: Sequence[tuple[str, float]]) -> None:
        """Keep when devices were last heard."""
        sql = "UPDATE devices SET last_seen = ? WHERE device_id = ?"
        await self._write([(sql, (at, device_id)) for device_id, at in seen])

    async def delete_device(self, device_id: str) -> None:
        """Forget a device."""
        await self._write([("DELETE FROM devices WHERE device_id = ?", (device_id,))])

    async def save_claim(self, claim: Claim) -> None:
        """Keep a claim token."""
        await self._write([_save_claim(claim)])

    async def delete_claims(self, digests: Sequence[str]) -> None:
        """Forget claim tokens."""
        await self._write([("DELETE FROM claims WHERE digest = ?", (d,)) for d in digests])

    async def save_settings(self, values: dict[str, bytes]) -> None:
        """Keep values by name."""
        sql = "INSERT OR REPLACE INTO settings VALUES (?, ?)"
        await self._write([(sql, pair) for pair in values.items()])

    async def _read(self, sql: str) -> list[Any]:
        return await self._run(lambda: self._database.execute(sql).fetchall())

    async def _write(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        def write() -> None:
            with self._database:
                for sql, values in statements:
                    self._database.execute(sql, values)

        try:
            await self._run(write)
        except sqlite3.Error as exc:
            raise GatewayError(f"cannot write {self._path}: {exc}") from exc

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    path.chmod(0o600)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(_SCHEMA)
    return database


def _save_claim(claim: Claim) -> tuple[str, Sequence[Any]]:
    sql = "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)"
    return sql, (claim.digest, claim.uses, claim.expires_at)
