"""Encodes and decodes chunks. Pure.

    session  1 byte   of this run of the link; chunks of an earlier one are dropped
    offset   2 bytes  of the first byte in the stream, modulo 65536
    ack      2 bytes  the offset that the sender expects next
    data     0 or more bytes
    crc      2 bytes  CRC-16/CCITT-FALSE of all before

Session numbers are 1 to 255. A chunk of session 0 ends another session: its data are that session's
number and a reason. An end that is lost costs its receiver a timeout.

Numbers are big endian. A chunk fits into the least that a link carries, MIN_CHUNK bytes (an ATT MTU
of 23). On a serial line, which has no edges between chunks, each is encoded by COBS (Cheshire and
Baker, 1999) between two zero bytes; what stands between chunks is text of a program.
"""

import binascii
from dataclasses import dataclass
from enum import IntEnum

HEAD_BYTES, CRC_BYTES = 5, 2
OVERHEAD = HEAD_BYTES + CRC_BYTES
MIN_CHUNK, MAX_CHUNK = 20, 512
OFFSETS = 1 << 16
SESSIONS = range(1, 256)
ENDING = 0  # the session number of a chunk that ends another session
_CRC_START = 0xFFFF


class SessionEnd(IntEnum):
    """The reasons for the end of a session."""

    CLOSED = 0
    UNKNOWN = 1  # the other end has restarted, or has begun another session
    REFUSED = 2  # the key is not known, or was not proved


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk."""

    session: int
    offset: int
    ack: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the bytes of the chunk."""
        head = bytes((self.session,)) + self.offset.to_bytes(2) + self.ack.to_bytes(2)
        body = head + self.data
        return body + binascii.crc_hqx(body, _CRC_START).to_bytes(2)


def decode_chunk(octets: bytes) -> Chunk | None:
    """Return the chunk in bytes; None when they are spoiled."""
    if not OVERHEAD <= len(octets) <= MAX_CHUNK:
        return None
    body, crc = octets[:-CRC_BYTES], int.from_bytes(octets[-CRC_BYTES:])
    if binascii.crc_hqx(body, _CRC_START) != crc:
        return None
    return Chunk(body[0], int.from_bytes(body[1:3]), int.from_bytes(body[3:5]), body[HEAD_BYTES:])


def encode_end(session: int, reason: int) -> bytes:
    """Return the chunk that ends a session."""
    return Chunk(ENDING, 0, 0, bytes((session, reason))).encode()


def decode_end(chunk: Chunk) -> tuple[int, int] | None:
    """Return the session that a chunk ends, and the reason; None when it ends none."""
    if chunk.session != ENDING or len(chunk.data) != 2:
        return None
    return chunk.data[0], chunk.data[1]


def encode_cobs(octets: bytes) -> bytes:
    """Return bytes between two zeros, and without others."""
    out = bytearray(1)
    for part in octets.split(b"\0"):
        rest = part
        while len(rest) >= 254:
            out += b"\xff" + rest[:254]
            rest = rest[254:]
        out += bytes((len(rest) + 1,)) + rest
    return bytes(out) + b"\0"


class CobsDecoder:
    """Finds the chunks in the bytes of a serial line, between text and noise."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, octets: bytes) -> list[bytes]:
        """Return what may be chunks and is whole now; the rest is dropped with its zero."""
        found = []
        *whole, rest = octets.split(b"\0")
        for part in whole:
            decoded = _decode_cobs(bytes(self._pending + part))
            self._pending.clear()
            if decoded is not None and len(decoded) >= OVERHEAD:
                found.append(decoded)
        self._pending += rest
        if len(self._pending) > 2 * MAX_CHUNK:  # no zero: noise
            self._pending.clear()
        return found


def _decode_cobs(octets: bytes) -> bytes | None:
    out, at = bytearray(), 0
    while at < len(octets):
        code = octets[at]
        end = at + code
        if end > len(octets):
            return None
        out += octets[at + 1 : end]
        at = end
        if code != 0xFF and at < len(octets):
            out.append(0)
    return bytes(out)
