"""Describes devices and boards that wait, for the API. Pure."""

from collections.abc import Collection
from typing import Any

from gateway.devices.joining.pending import PendingBoard
from gateway.devices.record import DeviceRecord, shown


def describe_device(device: DeviceRecord, online: Collection[str], now: float) -> dict[str, Any]:
    """Return a device; nothing that logs it in is part of it."""
    return {
        "id": device.device_id,
        "name": device.name,
        "model": device.model,
        "state": str(device.state(now)),
        "problem": device.problem,
        "online": device.device_id in online or device.waits_for_link,
        "groups": list(device.groups),
        "attributes": dict(device.attributes),
        "board": device.client_id,
        "joined_at": device.joined_at,
        "last_seen": device.last_seen,
        "revoked_at": device.revoked_at or None,
        "messages": device.messages,
        "conflicts": device.conflicts,
        "last_topic": device.last_topic,
        "last_payload": shown(device.last_payload),
        "token": {
            "made_at": device.token_made_at or None,
            "is_new_waiting": device.next_made_at > 0,
        },
        "certificate": _describe_certificate(device),
    }


def describe_board(board: PendingBoard, known: DeviceRecord | None) -> dict[str, Any]:
    """Return a board that waits; known is the device that it was before."""
    return {
        "code": board.shown_code,
        "board": board.client_id,
        "name": board.name,
        "model": board.model,
        "state": str(board.state),
        "address": board.source,
        "first_at": board.first_at,
        "asked_at": board.asked_at,
        "device_id": board.device_id,
        "known_as": known.device_id if known is not None else "",
    }


def _describe_certificate(device: DeviceRecord) -> dict[str, Any] | None:
    if device.certificate is None:
        return None
    return {"sha256": device.certificate.digest, "ends_at": device.certificate.ends_at}
