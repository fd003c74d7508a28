"""Carries messages over Bluetooth LE and serial lines; the device's side of protocol/chunks.

No link loads it yet. A ChunkStream makes an ordered stream of bytes over a link that loses,
repeats, reorders and spoils chunks; SealedStream authenticates the gateway and encrypts. Pure: the caller
brings chunks and the time in milliseconds.
"""

import hashlib

from micropython import const

_OVERHEAD = const(7)
_MIN_CHUNK = const(20)
_MAX_CHUNK = const(512)
_WINDOW_CHUNKS = const(4)
_WINDOW_BYTES = const(2048)
_QUEUE_BYTES = const(8192)
_FIRST_WAIT_MS = const(300)
_LAST_WAIT_MS = const(5000)
_TRIES = const(10)
_SHRINK_AFTER = const(2)
_NONCE_BYTES = const(16)
_TAG_BYTES = const(8)
_MESSAGE_LIMIT = const(4096)
_LABELS = (b"hecate chunks 1 connecting", b"hecate chunks 1 accepting")


class ChunkError(Exception):
    """The other end does not have the key, or the link does not pass anything."""


def crc16(data):
    """Return CRC-16/CCITT-FALSE."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def encode_chunk(session, offset, ack, data):
    """Return a chunk."""
    body = bytes((session, offset >> 8, offset & 255, ack >> 8, ack & 255)) + data
    crc = crc16(body)
    return body + bytes((crc >> 8, crc & 255))


class ChunkStream:
    """One direction each way over one link; see protocol/chunks/stream.py."""

    def __init__(self, session, chunk_bytes):
        self.chunk_bytes = max(chunk_bytes, _MIN_CHUNK)
        self.failed = False
        self.spoiled = 0
        self._session = session
        self._queue = b""
        self._next = 0
        self._under_way = []  # [start, data, due, tries]
        self._expected = 0
        self._early = {}
        self._owes_ack = False

    def is_idle(self):
        """Return whether the other side has acknowledged everything."""
        return not self._queue and not self._under_way

    def send(self, data):
        """Queue bytes; return False, and queue nothing, when there is no room for them."""
        if len(self._queue) + len(data) > _QUEUE_BYTES:
            return False
        self._queue += data
        return True

    def receive(self, chunk):
        """Take what the link brought; return the bytes of the stream that are in order now."""
        size = len(chunk) - 2
        is_chunk = _OVERHEAD - 2 <= size <= _MAX_CHUNK - 2 and chunk[0] == self._session
        if not is_chunk or crc16(chunk[:size]) != chunk[size] << 8 | chunk[size + 1]:
            self.spoiled += 1
            return b""
        self._acknowledge(chunk[3] << 8 | chunk[4])
        data = bytes(chunk[5:size])
        if not data:
            return b""
        self._owes_ack = True
        start = self._expected + _distance(self._expected, chunk[1] << 8 | chunk[2])
        if start + len(data) <= self._expected or start > self._expected + _WINDOW_BYTES:
            return b""
        held = sum([len(early) for early in self._early.values()])
        if len(data) > len(self._early.get(start, b"")) and (
            start <= self._expected or held + len(data) <= _WINDOW_BYTES
        ):
            self._early[start] = data
        return self._take_in_order()

    def poll(self, now):
        """Return the chunks to send now; with nothing else to say, the acknowledgement owed."""
        chunks = []
        for sent in list(self._under_way):
            if now >= sent[2]:
                self._repeat(sent, now, chunks)
        room = self.chunk_bytes - _OVERHEAD
        while self._queue and self._may_send():
            data, self._queue = self._queue[:room], self._queue[room:]
            self._under_way.append([self._next, data, now + _FIRST_WAIT_MS, 1])
            chunks.append(self._encode(self._next, data))
            self._next += len(data)
        if self._owes_ack and not chunks:
            chunks.append(self._encode(self._next, b""))
        self._owes_ack = False
        return chunks

    def next_due(self):
        """Return when poll() has to be called without a reason from outside; None: not."""
        return min([sent[2] for sent in self._under_way]) if self._under_way else None

    def _may_send(self):
        size = sum([len(sent[1]) for sent in self._under_way]) + self.chunk_bytes
        few = len(self._under_way) < _WINDOW_CHUNKS
        return few and size <= _WINDOW_BYTES and not self.failed

    def _repeat(self, sent, now, chunks):
        if sent[3] >= _TRIES:
            self.failed = True
            return
        sent[3] += 1
        sent[2] = now + min(_FIRST_WAIT_MS << (sent[3] - 1), _LAST_WAIT_MS)
        if sent[3] > _SHRINK_AFTER and len(sent[1]) + _OVERHEAD > _MIN_CHUNK:
            size = max((len(sent[1]) + _OVERHEAD) // 2, _MIN_CHUNK)
            self.chunk_bytes = min(self.chunk_bytes, size)
            room = size - _OVERHEAD
            rest = [sent[0] + room, sent[1][room:], sent[2], sent[3]]
            sent[1] = sent[1][:room]
            self._under_way.insert(self._under_way.index(sent) + 1, rest)
        chunks.append(self._encode(sent[0], sent[1]))

    def _acknowledge(self, ack):
        first = self._under_way[0][0] if self._under_way else self._next
        reached = first + _distance(first, ack)
        if not first < reached <= self._next:
            return
        left = []
        for sent in self._under_way:
            done = min(max(reached - sent[0], 0), len(sent[1]))
            if done < len(sent[1]):
                sent[0] += done
                sent[1] = sent[1][done:]
                left.append(sent)
        self._under_way = left

    def _take_in_order(self):
        taken = b""
        for start in sorted(self._early):
            if start > self._expected:
                break
            fresh = self._early.pop(start)[self._expected - start :]
            taken += fresh
            self._expected += len(fresh)
        return taken

    def _encode(self, start, data):
        return encode_chunk(self._session, start & 0xFFFF, self._expected & 0xFFFF, data)


def _distance(origin, offset):
    """Return how far an offset is from one in the whole stream, the nearer way round."""
    ahead = (offset - origin) & 0xFFFF
    return ahead - 0x10000 if ahead >= 0x8000 else ahead


class SealedStream:
    """The end that connects; see protocol/chunks/records.py."""

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
        self._tag_key = made[16:]
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
        return hmac_sha256(self._tag_key, self._count.to_bytes(8, "big") + body)[:_TAG_BYTES]

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
    padded = key + bytes(64 - len(key))
    inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in padded]))
    inner.update(message)
    outer = hashlib.sha256(bytes([byte ^ 0x5C for byte in padded]))
    outer.update(inner.digest())
    return outer.digest()
