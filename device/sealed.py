"""Authenticates the gateway and encrypts what passes; see protocol/chunks/records.py. Pure."""

import hashlib

from micropython import const

_NONCE_BYTES = const(16)
_TAG_BYTES = const(8)
_MESSAGE_LIMIT = const(4096)
_LABELS = (b"hecate chunks 1 connecting", b"hecate chunks 1 accepting")
_KEY_ID_LABEL = b"hecate chunks 1 key id"


class ChunkError(Exception):
    """The other end does not have the key, or somebody changed what it sent."""


def name_and_key(who, token):
    """Return the name of a key for the hello, and the key: that of a token."""
    key = hashlib.sha256(token.encode()).digest()
    key_id = hmac_sha256(key, _KEY_ID_LABEL)[:8]
    return ("%s/%s" % (who, "".join(["%02x" % byte for byte in key_id]))).encode(), key


class SealedStream:
    """The end that connects."""

    def __init__(self, nonce, name, key):
        self.is_ready = False
        self._nonce = nonce
        self._name = name
        self._key = key
        self._input = b""
        self._seal = self._open = None

    def hello(self):
        """Return the bytes that begin the stream."""
        return bytes((1, len(self._name))) + self._name + self._nonce

    def encode(self, message):
        """Return the record of a message."""
        if len(message) > _MESSAGE_LIMIT:
            raise ValueError("cannot send %d bytes: too many" % len(message))
        return self._seal.seal(message)

    def feed(self, data):
        """Return the messages that are whole now; ChunkError ends the stream."""
        self._input += data
        if not self.is_ready and not self._take_hello():
            return []
        messages = []
        while len(self._input) >= 2:
            size = self._input[0] << 8 | self._input[1]
            if size > _MESSAGE_LIMIT:
                raise ChunkError("cannot read record: too long, so it is forged")
            end = 2 + size + _TAG_BYTES
            if len(self._input) < end:
                break
            record, self._input = self._input[:end], self._input[end:]
            messages.append(self._open.open(record))
        return messages

    def _take_hello(self):
        data = self._input
        if len(data) < 2:
            return False
        if data[0] != 1 or data[1] > 64:
            raise ChunkError("cannot understand the other end: another version")
        end = 2 + data[1] + _NONCE_BYTES
        if len(data) < end:
            return False
        nonce, self._input = data[end - _NONCE_BYTES : end], data[end:]
        if nonce == self._nonce:
            raise ChunkError("cannot admit the other end: its key is not known")
        nonces = self._nonce + nonce
        self._seal = _Direction(self._key, _LABELS[0], nonces)
        self._open = _Direction(self._key, _LABELS[1], nonces)
        self.is_ready = True
        return True


class _Direction:
    """The keys and the counter of one direction."""

    def __init__(self, key, label, nonces):
        made = hmac_sha256(key, label + nonces)
        self._aes = _encryptor(made[:16])
        self._pads = _pads(made[16:])
        self._count = 0

    def seal(self, message):
        """Return a record."""
        size = len(message)
        body = bytes((size >> 8, size & 255)) + self._crypt(message)
        record = body + self._tag(body)
        self._count += 1
        return record

    def open(self, record):
        """Return the message in a record; ChunkError for a forged one."""
        body, tag = record[:-_TAG_BYTES], record[-_TAG_BYTES:]
        wrong = 0
        for ours, theirs in zip(self._tag(body), tag):
            wrong |= ours ^ theirs
        if wrong:
            raise ChunkError("cannot open record: the other end does not have the key")
        message = self._crypt(body[2:])
        self._count += 1
        return message

    def _tag(self, body):
        return _hmac(self._pads, self._count.to_bytes(8, "big") + body)[:_TAG_BYTES]

    def _crypt(self, data):
        out = bytearray(len(data))
        count = self._count.to_bytes(8, "big")
        for at in range(0, len(data), 16):
            block = self._aes(count + (at // 16).to_bytes(8, "big"))
            for i in range(at, min(at + 16, len(data))):
                out[i] = data[i] ^ block[i - at]
        return bytes(out)


def _encryptor(key):
    from cryptolib import aes

    return aes(key, 1).encrypt  # one block at a time: not every port has the counter mode


def hmac_sha256(key, message):
    """Return HMAC-SHA-256 for a key of at most 64 bytes."""
    return _hmac(_pads(key), message)


def _pads(key):
    padded = key + bytes(64 - len(key))
    return bytes([byte ^ 0x36 for byte in padded]), bytes([byte ^ 0x5C for byte in padded])


def _hmac(pads, message):
    inner = hashlib.sha256(pads[0])
    inner.update(message)
    outer = hashlib.sha256(pads[1])
    outer.update(inner.digest())
    return outer.digest()
