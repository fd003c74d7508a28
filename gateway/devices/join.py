"""Parses the requests of joining devices and encodes what they are told (docs/protocol.md)."""

import json
from dataclasses import dataclass

from protocol.ids import DEVICE_ID
from protocol.topics import device_prefix
from settings.secret import Secret

NAME_LIMIT = 64
MODEL_LIMIT = 64
REQUEST_LIMIT_BYTES = 1024
CLIENT_ID_LIMIT = 64


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """The request of a joining device."""

    name: str
    model: str


def may_be_client_id(client_id: str) -> bool:
    """Return whether a joining device may use a client id.

    The id becomes a topic level. It may not look like the id of a device that has joined: MQTT
    would close the connection of that device.
    """
    return (
        0 < len(client_id) <= CLIENT_ID_LIMIT
        and not set(client_id) & set("/+#$:\0")
        and DEVICE_ID.fullmatch(client_id) is None
    )


def parse_request(payload: bytes) -> JoinRequest:
    """Return the request in a payload; ValueError with the reason when it is not one."""
    if len(payload) > REQUEST_LIMIT_BYTES:
        raise ValueError(f"request of {len(payload)} bytes, limit is {REQUEST_LIMIT_BYTES}")
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as exc:
        raise ValueError("request is not JSON") from exc
    if not isinstance(fields, dict):
        raise ValueError("request is not a JSON object")  # noqa: TRY004  # a fault of the peer
    name, model = fields.get("name"), fields.get("model", "")
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_LIMIT or not name.isprintable():
        raise ValueError(f"name must be a text of 1 to {NAME_LIMIT} printable characters")
    if not isinstance(model, str) or len(model) > MODEL_LIMIT or not model.isprintable():
        raise ValueError(f"model must be a text of at most {MODEL_LIMIT} printable characters")
    return JoinRequest(name, model)


def encode_credentials(device_id: str, password: Secret) -> bytes:
    """Return the answer that gives a device its credentials."""
    return json.dumps(
        {
            "device_id": device_id,
            "username": device_id,
            "password": password.reveal(),
            "prefix": device_prefix(device_id),
        }
    ).encode()


def encode_refusal(reason: str) -> bytes:
    """Return the answer that refuses a join for a reason."""
    return json.dumps({"error": f"cannot join: {reason}"}).encode()


def encode_time(now: float) -> bytes:
    """Return the time for a device that has come online; many boards have no clock."""
    return json.dumps({"at": int(now)}).encode()
