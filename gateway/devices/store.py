"""Stores devices, claim tokens and boards that ask to join in gateway.db."""

import json
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

from gateway.devices.joining.claims import Claim
from gateway.devices.joining.pending import PendingBoard, PendingState
from gateway.devices.record import DeviceCertificate, DeviceRecord
from gateway.devices.registry import Seen
from gateway.storage.database import LocalDatabase, Statement

_DEVICE_COLUMNS = (
    "device_id, name, model, token_digest, joined_at, claim_digest, client_id, confirmed,"
    " last_seen, groups, attributes, revoked_at, token_made_at, next_digest, next_made_at,"
    " certificates, conflicts"
)
_PENDING_COLUMNS = (
    "digest, client_id, code, source, first_at, asked_at, name, model, state, device_id, decided_at"
)


class DeviceStore:
    """The tables of devices; each method returns when the change is on disk."""

    def __init__(self, database: LocalDatabase) -> None:
        self._database = database

    async def devices(self) -> list[DeviceRecord]:
        """Return the devices in the order of joining."""
        rows = await self._database.read(
            f"SELECT {_DEVICE_COLUMNS} FROM devices ORDER BY joined_at, device_id"  # noqa: S608
        )
        return [_device(*row) for row in rows]

    async def claims(self) -> list[Claim]:
        """Return the claim tokens."""
        rows = await self._database.read("SELECT digest, uses, expires_at, client_id FROM claims")
        return [Claim(*row) for row in rows]

    async def pending(self) -> list[PendingBoard]:
        """Return the boards that ask to join, the newest last."""
        rows = await self._database.read(
            f"SELECT {_PENDING_COLUMNS} FROM pending ORDER BY first_at"  # noqa: S608
        )
        return [_pending(*row) for row in rows]

    async def save_join(
        self, device: DeviceRecord, claim: Claim | None = None, ended: str = ""
    ) -> None:
        """Store a device, the rest of its claim and the end of its approval, all or nothing."""
        more = [] if claim is None else [_save_claim(claim)]
        if ended:
            more.append(("DELETE FROM pending WHERE digest = ?", (ended,)))
        await self._database.write(save_device_statement(device), *more)

    async def save_device(self, device: DeviceRecord) -> None:
        """Store a device as it is now."""
        await self._database.write(save_device_statement(device))

    async def save_seen(self, seen: Sequence[Seen]) -> None:
        """Store when devices last sent a message, and what they report."""
        sql = "UPDATE devices SET last_seen = ?, attributes = ?, conflicts = ? WHERE device_id = ?"
        await self._database.write(
            *(
                (sql, (at, json.dumps(attributes), conflicts, device_id))
                for device_id, at, attributes, conflicts in seen
            )
        )

    async def delete_device(self, device_id: str) -> None:
        """Delete a device, and what is stored of it as a sensor."""
        await self._database.write(
            ("DELETE FROM devices WHERE device_id = ?", (device_id,)),
            ("DELETE FROM sensors WHERE device_id = ?", (device_id,)),
        )

    async def save_claim(self, claim: Claim) -> None:
        """Store a claim token."""
        await self._database.write(_save_claim(claim))

    async def delete_claims(self, digests: Sequence[str]) -> None:
        """Delete claim tokens."""
        sql = "DELETE FROM claims WHERE digest = ?"
        await self._database.write(*((sql, (digest,)) for digest in digests))

    async def delete_all_claims(self) -> None:
        """Delete all claim tokens, also those that an earlier call could not delete."""
        await self._database.write(("DELETE FROM claims", ()))

    async def save_pending(self, boards: Sequence[PendingBoard], removed: Sequence[str]) -> None:
        """Store boards that ask to join, and delete those that do not any more."""
        marks = ", ".join("?" * len(_PENDING_COLUMNS.split(", ")))
        insert = f"INSERT OR REPLACE INTO pending ({_PENDING_COLUMNS}) VALUES ({marks})"  # noqa: S608
        await self._database.write(
            *(("DELETE FROM pending WHERE digest = ?", (digest,)) for digest in removed),
            *((insert, astuple(board)[:-1]) for board in boards),
        )


def _device(*row: Any) -> DeviceRecord:
    *fields, confirmed, last_seen, groups, attributes = row[:11]
    revoked_at, token_made_at, next_digest, next_made_at, certificates, conflicts = row[11:]
    own, following = _certificates(certificates)
    return DeviceRecord(  # type: ignore[misc]
        *fields,
        confirmed=bool(confirmed),
        last_seen=last_seen,
        groups=tuple(json.loads(groups)),
        attributes=json.loads(attributes),
        revoked_at=revoked_at,
        token_made_at=token_made_at,
        next_digest=next_digest,
        next_made_at=next_made_at,
        certificate=own,
        next_certificate=following,
        conflicts=conflicts,
    )


def save_device_statement(d: DeviceRecord) -> Statement:
    """Return the statement that stores a device as it is now."""
    marks = ", ".join("?" * len(_DEVICE_COLUMNS.split(", ")))
    return (
        f"INSERT OR REPLACE INTO devices ({_DEVICE_COLUMNS}) VALUES ({marks})",  # noqa: S608
        (d.device_id, d.name, d.model, d.token_digest, d.joined_at, d.claim_digest, d.client_id,
         d.confirmed, d.last_seen, json.dumps(d.groups), json.dumps(d.attributes), d.revoked_at,
         d.token_made_at, d.next_digest, d.next_made_at,
         json.dumps([_encode(d.certificate), _encode(d.next_certificate)]), d.conflicts),
    )  # fmt: skip


def _encode(certificate: DeviceCertificate | None) -> list[Any] | None:
    if certificate is None:
        return None
    return [certificate.digest, certificate.public_key.hex(), certificate.ends_at]


def _certificates(text: str) -> list[DeviceCertificate | None]:
    found: list[DeviceCertificate | None] = [
        None if each is None else DeviceCertificate(each[0], bytes.fromhex(each[1]), each[2])
        for each in json.loads(text)
    ]
    return [*found, None, None][:2]


def _pending(*row: Any) -> PendingBoard:
    *fields, state, device_id, decided_at = row
    board = PendingBoard(*fields)
    return replace(
        board,
        state=PendingState(state),
        device_id=device_id,
        decided_at=decided_at,
        is_stored=True,
    )


def _save_claim(claim: Claim) -> Statement:
    sql = "INSERT OR REPLACE INTO claims (digest, uses, expires_at, client_id) VALUES (?, ?, ?, ?)"
    return sql, (claim.digest, claim.uses, claim.expires_at, claim.client_id)
