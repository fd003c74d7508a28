"""Authenticates both ends of a stream, and encrypts what passes, by a key that both have. Pure.

Each end begins with a hello: its nonce of 16 bytes and, from the one that connects, the name of
the key. The keys of both directions follow from the shared key and both nonces, so nothing of an
earlier run can be repeated. Then come records: length, ciphertext, tag. An end that does not have
the key cannot make a tag; the first bad one ends the stream.

Keys are HMAC-SHA-256 of a label. Records are encrypted by AES-128 in counter mode and then
authenticated by the first 8 bytes of HMAC-SHA-256 over counter, length and ciphertext: what every
MicroPython has the means for. There is no forward secrecy: an attacker who learns the key can read
recordings. The shared key is the SHA-256 of a device's token or join secret, which the gateway
keeps.
"""

import hashlib
import hmac
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

VERSION = 1
NONCE_BYTES, TAG_BYTES, LENGTH_BYTES = 16, 8, 2
NAME_LIMIT = 64
MESSAGE_LIMIT = 4096
_LABELS = (b"hecate chunks 1 connecting", b"hecate chunks 1 accepting")


class RecordError(Exception):
    """The other end does not have the key, or somebody changed what it sent."""


class SecureStream:
    """Messages in a stream of bytes; one object for each end of each run."""

    def __init__(
        self,
        nonce: bytes,
        *,
        name: bytes = b"",  # of the key; the end that connects gives it, and the key
        key: bytes = b"",
        find_key: Callable[[bytes], bytes | None] | None = None,  # of the end that accepts
    ) -> None:
        self._nonce, self._name, self._key, self._find_key = nonce, name, key, find_key
        self._input = bytearray()
        self._seal: _Direction | None = None
        self._open: _Direction | None = None
        self.peer_name = b""  # the name of the other end, proved by its first message

    @property
    def is_ready(self) -> bool:
        """True when both hellos have passed, and messages can be sent."""
        return self._seal is not None

    def hello(self) -> bytes:
        """Return the bytes that begin the stream."""
        return bytes((VERSION, len(self._name))) + self._name + self._nonce

    def encode(self, message: bytes) -> bytes:
        """Return the record of a message."""
        if self._seal is None:
            raise RecordError("cannot send: the other end has not said hello")
        if len(message) > MESSAGE_LIMIT:
            raise ValueError(f"cannot send {len(message)} bytes: limit is {MESSAGE_LIMIT}")
        return self._seal.seal(message)

    def feed(self, octets: bytes) -> list[bytes]:
        """Return the messages that are whole now; RecordError ends the stream."""
        self._input += octets
        if self._open is None and not self._take_hello():
            return []
        messages = []
        while (message := self._take_record()) is not None:
            messages.append(message)
        return messages

    def _take_hello(self) -> bool:
        if len(self._input) < 2:
            return False
        version, size = self._input[:2]
        if version != VERSION or size > NAME_LIMIT:
            raise RecordError("cannot understand the other end: another version")
        end = 2 + size + NONCE_BYTES
        if len(self._input) < end:
            return False
        self.peer_name = bytes(self._input[2 : 2 + size])
        nonce = bytes(self._input[2 + size : end])
        del self._input[:end]
        key, nonces, own = self._key, self._nonce + nonce, 0
        if self._find_key is not None:
            key, nonces, own = self._find_key(self.peer_name) or b"", nonce + self._nonce, 1
        if not key or nonce == self._nonce:
            raise RecordError("cannot admit the other end: its key is not known")
        self._seal = _Direction(key, _LABELS[own], nonces)
        self._open = _Direction(key, _LABELS[1 - own], nonces)
        return True

    def _take_record(self) -> bytes | None:
        if len(self._input) < LENGTH_BYTES or self._open is None:
            return None
        size = int.from_bytes(self._input[:LENGTH_BYTES])
        if size > MESSAGE_LIMIT:
            raise RecordError("cannot read record: too long, so it is forged")
        end = LENGTH_BYTES + size + TAG_BYTES
        if len(self._input) < end:
            return None
        record = bytes(self._input[:end])
        del self._input[:end]
        return self._open.open(record)


class _Direction:
    """The keys and the counter of one direction."""

    def __init__(self, key: bytes, label: bytes, nonces: bytes) -> None:
        made = hmac.digest(key, label + nonces, "sha256")
        self._cipher_key, self._tag_key = made[:16], made[16:]
        self._count = 0

    def seal(self, message: bytes) -> bytes:
        body = len(message).to_bytes(LENGTH_BYTES) + self._crypt(message)
        record = body + self._tag(body)
        self._count += 1
        return record

    def open(self, record: bytes) -> bytes:
        body, tag = record[:-TAG_BYTES], record[-TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(body)):
            raise RecordError("cannot open record: the other end does not have the key")
        message = self._crypt(body[LENGTH_BYTES:])
        self._count += 1
        return message

    def _tag(self, body: bytes) -> bytes:
        return hmac.digest(self._tag_key, self._count.to_bytes(8) + body, "sha256")[:TAG_BYTES]

    def _crypt(self, data: bytes) -> bytes:
        start = self._count.to_bytes(8) + bytes(8)
        stream = Cipher(algorithms.AES128(self._cipher_key), modes.CTR(start)).encryptor()
        return stream.update(data) + stream.finalize()


def shared_key(secret: bytes) -> bytes:
    """Return the key that a device and its gateway share: the digest of the device's token."""
    return hashlib.sha256(secret).digest()
