"""Parses the requests of joining devices and encodes what they are told (docs/protocol.md)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from protocol.ids import DEVICE_ID
from protocol.topics import device_prefix
from settings.secret import Secret

NAME_LIMIT = 64
MODEL_LIMIT = 64
REQUEST_LIMIT_BYTES = 3072
JOIN_LEVEL = 2  # of the client id in the topics of a join
GROUP_LIMIT, GROUPS_LIMIT = 32, 16
CLIENT_ID_LIMIT = 64


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """The request of a joining device."""

    name: str
    model: str
    wants_certificate: bool = False  # a key and a client certificate, made by the gateway
    csr: str = ""  # PEM: a client certificate for a key that the device keeps


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
    if not isinstance(name, str):
        name = ""
    check_name(name)
    if not isinstance(model, str) or len(model) > MODEL_LIMIT or not model.isprintable():
        raise ValueError(f"model must be a text of at most {MODEL_LIMIT} printable characters")
    certificate, csr = fields.get("certificate", False), fields.get("csr", "")
    if not isinstance(certificate, bool) or not isinstance(csr, str):
        raise ValueError("certificate must be true or false, csr a text")  # noqa: TRY004
    return JoinRequest(name, model, certificate, csr)


def check_name(name: str) -> None:
    """Raise ValueError for a text that cannot be the name of a device."""
    if not 1 <= len(name) <= NAME_LIMIT or not name.isprintable() or name.isspace():
        raise ValueError(f"name must be a text of 1 to {NAME_LIMIT} printable characters")


def check_groups(groups: tuple[str, ...]) -> None:
    """Raise ValueError for texts that cannot be the groups of a device: levels of topics."""
    if len(groups) > GROUPS_LIMIT:
        raise ValueError(f"a device is in at most {GROUPS_LIMIT} groups")
    for group in groups:
        known = group.isascii() and group.replace("-", "").replace("_", "").isalnum()
        if not known or len(group) > GROUP_LIMIT:
            raise ValueError(f"group {group[:40]!r} is not 1 to {GROUP_LIMIT} of A-Z a-z 0-9 - _")


def encode_credentials(
    device_id: str, password: Secret, certificate: Mapping[str, str] | None = None
) -> bytes:
    """Return the answer that gives a device its credentials."""
    return json.dumps(
        {
            "device_id": device_id,
            "username": device_id,
            "password": password.reveal(),
            "prefix": device_prefix(device_id),
            **(certificate or {}),
        }
    ).encode()


def encode_pending(code: str, known_as: str = "") -> bytes:
    """Return the answer that makes a board wait for a person, who sees the same code."""
    known = {"known_as": known_as} if known_as else {}
    hint = f"hecate devices approve {code}"
    return json.dumps({"pending": code, "hint": hint, **known}).encode()


def encode_refusal(reason: str) -> bytes:
    """Return the answer that refuses a join for a reason."""
    return json.dumps({"error": f"cannot join: {reason}"}).encode()


def encode_time(now: float) -> bytes:
    """Return the time for a device that has come online; many boards have no clock."""
    return json.dumps({"at": int(now)}).encode()
