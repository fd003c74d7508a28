"""Stores devices and claim tokens in gateway.db."""

from collections.abc import Sequence
from typing import Any

from gateway.devices.claims import Claim
from gateway.devices.registry import DeviceRecord
from gateway.storage.database import LocalDatabase, Statement


class DeviceStore:
    """The tables of devices and claims; each method returns when the change is on disk."""

    def __init__(self, database: LocalDatabase) -> None:
        self._database = database

    async def devices(self) -> list[DeviceRecord]:
        """Return the devices in the order of joining."""
        rows = await self._database.read(
            "SELECT device_id, name, model, token_digest, joined_at, claim_digest, client_id,"
            " confirmed, last_seen FROM devices ORDER BY joined_at, device_id"
        )
        return [_device(*row) for row in rows]

    async def claims(self) -> list[Claim]:
        """Return the claim tokens."""
        rows = await self._database.read("SELECT digest, uses, expires_at FROM claims")
        return [Claim(*row) for row in rows]

    async def save_join(self, device: DeviceRecord, claim: Claim | None) -> None:
        """Store a device and the remaining uses of its claim, both or neither."""
        d = device
        insert: Statement = (
            "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (d.device_id, d.name, d.model, d.token_digest, d.joined_at, d.claim_digest,
             d.client_id, d.confirmed, d.last_seen),
        )  # fmt: skip
        await self._database.write(insert, *([] if claim is None else [_save_claim(claim)]))

    async def confirm_device(self, device_id: str) -> None:
        """Store that a device has logged in with its own credentials."""
        sql = "UPDATE devices SET confirmed = 1 WHERE device_id = ?"
        await self._database.write((sql, (device_id,)))

    async def save_seen(self, seen: Sequence[tuple[str, float]]) -> None:
        """Store when devices last sent a message."""
        sql = "UPDATE devices SET last_seen = ? WHERE device_id = ?"
        await self._database.write(*((sql, (at, device_id)) for device_id, at in seen))

    async def delete_device(self, device_id: str) -> None:
        """Delete a device."""
        await self._database.write(("DELETE FROM devices WHERE device_id = ?", (device_id,)))

    async def save_claim(self, claim: Claim) -> None:
        """Store a claim token."""
        await self._database.write(_save_claim(claim))

    async def delete_claims(self, digests: Sequence[str]) -> None:
        """Delete claim tokens."""
        sql = "DELETE FROM claims WHERE digest = ?"
        await self._database.write(*((sql, (digest,)) for digest in digests))


def _device(*row: Any) -> DeviceRecord:
    *fields, confirmed, last_seen = row
    return DeviceRecord(*fields, confirmed=bool(confirmed), last_seen=last_seen)  # type: ignore[misc]


def _save_claim(claim: Claim) -> Statement:
    sql = "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)"
    return sql, (claim.digest, claim.uses, claim.expires_at)
