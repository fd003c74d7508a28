"""Encodes and seals the messages of the SEP: CBOR maps whose body only the receiver can read.

A router of an envelope sees ids, expiry and size. The body is sealed with HPKE (RFC 9180, base
mode), bound to kind, receiver, id and expiry, so that nobody can replay it as another message,
nor as one that is valid for longer.
"""

import secrets
import struct
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from protocol.errors import WireError
from protocol.keys import SealingKey, load_sealing_public

VERSION = 2
BODY_LIMIT_BYTES = 256 * 1024  # more is bulk data: ask for a BEP
ENVELOPE_LIMIT_BYTES = BODY_LIMIT_BYTES + 4096  # ids, sealing key, HPKE overhead (1,136 bytes)

LATEST_EXPIRY = 2**40

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


class EnvelopeKind(StrEnum):
    """The kinds of envelope."""

    REQUEST = "request"
    RESPONSE = "response"
    CANCEL = "cancel"  # the sender no longer waits for the answer; has no body


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message on the SEP; see docs/protocol.md for the fields."""

    kind: EnvelopeKind
    message_id: bytes
    to: str
    sender: str
    expires: float
    body: bytes
    reply_key: bytes = b""


def new_message_id() -> bytes:
    """Return an id for a request."""
    return secrets.token_bytes(16)


def seal(
    envelope: Envelope, plain: bytes, receiver_key: bytes, answer_secret: bytes = b""
) -> Envelope:
    """Return the envelope with its body sealed to the receiver's public key.

    An answer is also bound to the secret in the sealed body of its request, so that only a
    receiver that read the request can answer it.

    Raises:
        WireError: the body is larger than the SEP carries, or the key is not one.
    """
    if len(plain) > BODY_LIMIT_BYTES:
        raise WireError(f"cannot seal body: {len(plain)} bytes, limit is {BODY_LIMIT_BYTES}")
    sealed = _SUITE.encrypt(
        plain, load_sealing_public(receiver_key), info=_binding(envelope) + answer_secret
    )
    return replace(envelope, body=sealed)


def unseal(envelope: Envelope, key: SealingKey, answer_secret: bytes = b"") -> bytes:
    """Return the body in clear; WireError when it was not sealed to this key and these ids."""
    try:
        info = _binding(envelope) + answer_secret
        return _SUITE.decrypt(envelope.body, key.private, info=info)
    except (InvalidTag, ValueError) as exc:
        raise WireError("cannot open envelope: not sealed to this key and these ids") from exc


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the envelope as CBOR."""
    fields: dict[str, Any] = {
        "v": VERSION,
        "kind": envelope.kind.value,
        "id": envelope.message_id,
        "to": envelope.to,
        "from": envelope.sender,
        "expires": envelope.expires,
        "body": envelope.body,
    }
    if envelope.reply_key:
        fields["key"] = envelope.reply_key
    return cbor2.dumps(fields)


def decode_envelope(data: bytes) -> Envelope:
    """Return the envelope in CBOR bytes; WireError when they are anything else."""
    if len(data) > ENVELOPE_LIMIT_BYTES:
        raise WireError(f"cannot decode envelope: {len(data)} bytes")
    fields = decode_map(data)
    if fields.get("v") != VERSION:
        raise WireError(f"cannot decode envelope: version {fields.get('v')!r}")
    try:
        kind = EnvelopeKind(take(fields, "kind", str))
    except ValueError as exc:
        raise WireError(f"cannot decode envelope: kind {fields['kind']!r}") from exc
    expires = take(fields, "expires", int, float)
    if not 0 <= expires <= LATEST_EXPIRY:  # not NaN, which would never expire, nor a huge integer
        raise WireError("cannot decode envelope: expires out of range")
    return Envelope(
        kind=kind,
        message_id=take(fields, "id", bytes),
        to=take(fields, "to", str),
        sender=take(fields, "from", str),
        expires=float(expires),
        body=take(fields, "body", bytes),
        reply_key=take({"key": b""} | fields, "key", bytes),
    )


def decode_map(data: bytes) -> dict[str, Any]:
    """Return the map that CBOR bytes hold; WireError when they hold anything else."""
    try:
        value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as exc:
        raise WireError("cannot decode CBOR: malformed") from exc
    if not isinstance(value, dict):
        raise WireError(f"cannot decode CBOR: {type(value).__name__}, not a map")
    return value


def take(fields: dict[str, Any], key: str, *kinds: type) -> Any:
    """Return a field of one of the kinds; WireError when it is missing or of another kind."""
    value = fields.get(key)
    if not isinstance(value, kinds) or isinstance(value, bool) != (bool in kinds):
        raise WireError(f"cannot decode field {key!r}: {type(value).__name__}")
    return value


def _binding(envelope: Envelope) -> bytes:
    head = f"hecate sep {VERSION}|{envelope.kind.value}|{envelope.to}|".encode()
    return head + struct.pack(">d", envelope.expires) + envelope.message_id
