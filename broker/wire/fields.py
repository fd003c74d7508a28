"""Encodes and decodes the data types of MQTT (section 1.5): integers, lengths, text, binary."""

import struct

from broker.wire.errors import LocalProtocolError, RemoteProtocolError
from broker.wire.reasons import Reason

MAX_VARINT = 268_435_455  # four bytes of seven bits
MAX_U16 = 65_535

pack_u16 = struct.Struct(">H").pack
pack_u32 = struct.Struct(">I").pack


def malformed(problem: str) -> RemoteProtocolError:
    """Return the error for bytes that break the format itself."""
    return RemoteProtocolError(f"cannot read packet: {problem}", Reason.MALFORMED_PACKET)


def _ends_early() -> RemoteProtocolError:
    return malformed("it ends within a field")


def decode_length(buffer: bytes, offset: int) -> tuple[int, int] | None:
    """Return a variable length integer and the offset behind it, or None while incomplete."""
    value = 0
    for index in range(4):
        if offset + index >= len(buffer):
            return None
        byte = buffer[offset + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if index and not byte:
                raise malformed("length not in its shortest form")  # [MQTT-1.5.5-1]
            return value, offset + index + 1
    raise malformed("length of more than four bytes")


def encode_length(value: int) -> bytes:
    """Return a variable length integer in its shortest form."""
    if value < 0x80:
        return bytes((value,))
    if value > MAX_VARINT:
        raise LocalProtocolError(f"cannot encode length {value}: too large")
    encoded = bytearray()
    while value >= 0x80:  # [MQTT-1.5.5-1]
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_binary(value: bytes) -> bytes:
    """Return binary data behind its two-byte length."""
    if len(value) > MAX_U16:  # [MQTT-4.7.3-3]
        raise LocalProtocolError(f"cannot encode {len(value)} bytes: more than {MAX_U16}")
    return pack_u16(len(value)) + value


def encode_text(value: str) -> bytes:
    """Return UTF-8 text behind its two-byte length."""
    if "\x00" in value:  # [MQTT-1.5.4-2]
        raise LocalProtocolError("cannot encode text: it holds U+0000")
    try:
        return encode_binary(value.encode())
    except UnicodeEncodeError as exc:
        raise LocalProtocolError("cannot encode text: it holds a surrogate") from exc


class FieldReader:
    """Reads the fields of one packet, front to back."""

    __slots__ = ("_at", "_buffer", "_end")

    def __init__(self, buffer: bytes, start: int = 0, end: int | None = None) -> None:
        self._buffer = buffer
        self._at = start
        self._end = len(buffer) if end is None else end

    @property
    def left(self) -> int:
        """The number of bytes not read yet."""
        return self._end - self._at

    def take(self, size: int) -> bytes:
        """Return the next size bytes."""
        start, stop = self._at, self._at + size
        if stop > self._end:
            raise _ends_early()
        self._at = stop
        return self._buffer[start:stop]

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(self.left)

    def byte(self) -> int:
        """Return a one-byte integer."""
        at = self._at
        if at >= self._end:
            raise _ends_early()
        self._at = at + 1
        return self._buffer[at]

    def boolean(self) -> bool:
        """Return a byte that may only be 0 or 1."""
        value = self.byte()
        if value > 1:
            raise RemoteProtocolError(f"cannot read packet: {value} where 0 or 1 is allowed")
        return value == 1

    def u16(self) -> int:
        """Return a two-byte integer."""
        # speed: no slice; every packet but PING has some
        at, buffer = self._at, self._buffer
        if at + 2 > self._end:
            raise _ends_early()
        self._at = at + 2
        return buffer[at] << 8 | buffer[at + 1]

    def u32(self) -> int:
        """Return a four-byte integer."""
        return int.from_bytes(self.take(4), "big")

    def varint(self) -> int:
        """Return a variable length integer."""
        decoded = decode_length(self._buffer, self._at)
        if decoded is None or decoded[1] > self._end:
            raise _ends_early()
        value, self._at = decoded
        return value

    def binary(self) -> bytes:
        """Return binary data."""
        # speed: in one go; every text of every packet comes this way
        start, buffer = self._at + 2, self._buffer
        if start > self._end:
            raise _ends_early()
        stop = start + (buffer[start - 2] << 8 | buffer[start - 1])
        if stop > self._end:
            raise _ends_early()
        self._at = stop
        return buffer[start:stop]

    def text(self) -> str:
        """Return UTF-8 text."""
        try:
            value = self.binary().decode()  # [MQTT-1.5.4-1] [MQTT-1.5.4-3] no surrogate
        except UnicodeDecodeError as exc:
            raise malformed("text is not UTF-8") from exc
        if "\x00" in value:
            raise malformed("text holds U+0000")  # [MQTT-1.5.4-2] [MQTT-4.7.3-2]
        return value

    def packet_id(self) -> int:
        """Return a packet id, which is never 0."""
        value = self.u16()
        if not value:
            raise malformed("packet id 0")  # [MQTT-2.2.1-3]; [MQTT-2.3.1-1] of 3.1.1
        return value

    def section(self, size: int) -> "FieldReader":
        """Return a reader of the next size bytes alone."""
        start = self._at
        if size > self.left:
            raise _ends_early()
        self._at += size
        return FieldReader(self._buffer, start, start + size)

    def finish(self) -> None:
        """Refuse bytes behind the last field."""
        if self.left:
            raise malformed(f"{self.left} bytes too many")
