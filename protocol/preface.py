"""Encodes the first bytes of connections to a relay, and frames of a BEP's control connection.

0      4   5   6       8
| HECB | v | k | length | token |      preface, from the serving end
| type | value: 16 bits |              frame, on a control connection
"""

import re
import struct
from dataclasses import dataclass
from enum import IntEnum

from protocol.errors import WireError
from protocol.ids import BEP_ID

MAGIC = b"HECB"
VERSION = 1
TOKEN_LIMIT_BYTES = 4096
SNIFF_LIMIT_BYTES = 256  # enough for a method and "/<BEP id>/"
PING_INTERVAL_S = 15  # of the relay; after three missed ones it counts as gone

_HEAD = struct.Struct(">4sBBH")
_FRAME = struct.Struct(">BH")
FRAME_BYTES = _FRAME.size

_VISIT = re.compile(rb"[A-Z]{1,20} /(" + BEP_ID.pattern.encode() + rb")[/? ]")
_VISIT_START = re.compile(rb"[A-Z]{0,20}( (/[A-Za-z0-9_-]{0,22})?)?")


class PrefaceRole(IntEnum):
    """The purpose of a connection of the serving end."""

    CONTROL = 1
    DATA = 2


class PrefaceStatus(IntEnum):
    """The relay's answer to a preface."""

    ACCEPTED = 0
    BAD_TOKEN = 1
    LIMIT = 2
    GONE = 3


class FrameType(IntEnum):
    """Frames from the relay on a control connection; the answer to PING is PING."""

    NEED = 1
    PING = 2
    END = 3


class EndReason(IntEnum):
    """The reasons for the end of a BEP."""

    EXPIRED = 1
    REVOKED = 2
    IDLE = 3
    RELAY_STOPS = 4


@dataclass(frozen=True, slots=True)
class Preface:
    """The first message of the serving end."""

    role: PrefaceRole
    token: str


@dataclass(frozen=True, slots=True)
class Visit:
    """The request that a visitor's first bytes make."""

    bep_id: str


def encode_preface(preface: Preface) -> bytes:
    """Return the preface as bytes."""
    token = preface.token.encode("ascii")
    return _HEAD.pack(MAGIC, VERSION, preface.role, len(token)) + token


def sniff(data: bytes) -> Preface | Visit | None:
    """Return the meaning of a connection's first bytes, or None while they are too few.

    For a preface data may not hold more than the preface: the serving end waits for the
    status byte. Raises WireError when the bytes are neither.
    """
    if data[:4] == MAGIC[: len(data)]:
        return _decode_preface(data)
    match = _VISIT.match(data)
    if match is not None:
        return Visit(match[1].decode())
    if len(data) < SNIFF_LIMIT_BYTES and _VISIT_START.fullmatch(data):
        return None
    raise WireError("cannot route connection: neither a preface nor a request for a BEP")


def encode_frame(kind: FrameType, value: int = 0) -> bytes:
    """Return one control frame."""
    return _FRAME.pack(kind, value)


def decode_frame(data: bytes) -> tuple[FrameType, int]:
    """Return type and value of FRAME_BYTES bytes; WireError when the type is unknown."""
    kind, value = _FRAME.unpack(data)
    try:
        return FrameType(kind), value
    except ValueError as exc:
        raise WireError(f"cannot decode control frame: type {kind}") from exc


def _decode_preface(data: bytes) -> Preface | None:
    if len(data) < _HEAD.size:
        return None
    _, version, role, length = _HEAD.unpack_from(data)
    if version != VERSION or role not in (PrefaceRole.CONTROL, PrefaceRole.DATA):
        raise WireError(f"cannot decode preface: version {version}, role {role}")
    if length > TOKEN_LIMIT_BYTES:
        raise WireError(f"cannot decode preface: token of {length} bytes")
    if len(data) < _HEAD.size + length:
        return None
    token = data[_HEAD.size :]
    if len(token) > length or not token.isascii():
        raise WireError("cannot decode preface: bytes after the token, or not ASCII")
    return Preface(PrefaceRole(role), token.decode("ascii"))
