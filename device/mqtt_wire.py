"""Encodes and decodes the MQTT 3.1.1 packets of a connection that stands: QoS 0 and 1. Pure.

connect_wire.py has the packets that begin a connection. Packets are tuples that begin with their
type, so that a board's memory holds no class for each:

    (2, session present, return code)                     CONNACK
    (3, topic, payload or None, packet id, retain, dup)   PUBLISH
    (4, packet id)                                        PUBACK
    (9, packet id, first return code)                     SUBACK
    (13,)                                                 PINGRESP

The decoder has one small buffer, made once; a packet that does not fit gets one of its own while it
comes. A PUBLISH that is larger than the limit is not an error, because a broker that keeps the
session would send it again after every reconnect: its topic and packet id are read, its payload is
None, and its bytes are skipped. The same holds for a packet that finds no memory.
"""

from device.errors import WireError
from micropython import const

_SMALL = const(512)
_LENGTH_BYTES = const(4)  # [MQTT-2.2.3]: so a remaining length is below 2**28


def encode_publish(view, topic, payload, packet_id=0, retain=False, dup=False):
    """Write a PUBLISH into a memoryview; return (its length there, the payload that is left).

    A payload that finds no room there is left, and need not be copied. Packet id 0 means QoS 0.
    """
    if dup and not packet_id:
        raise ValueError("cannot encode PUBLISH: DUP needs QoS 1")  # [MQTT-3.3.1-2]
    topic = topic.encode()
    size = len(topic)
    length = 2 + size + (2 if packet_id else 0) + len(payload)
    view[0] = 0x30 | (0x08 if dup else 0) | (0x02 if packet_id else 0) | (0x01 if retain else 0)
    at = 1
    while length > 0x7F:
        view[at] = length & 0x7F | 0x80
        length >>= 7
        at += 1
    view[at] = length
    view[at + 1] = size >> 8
    view[at + 2] = size & 0xFF
    at += 3 + size
    view[at - size : at] = topic
    if packet_id:
        view[at] = packet_id >> 8
        view[at + 1] = packet_id & 0xFF
        at += 2
    if len(payload) > len(view) - at:
        return at, payload
    view[at : at + len(payload)] = payload
    return at + len(payload), None


def encode_puback(packet_id):
    """Return PUBACK."""
    return bytes((0x40, 2, packet_id >> 8, packet_id & 0xFF))


class Decoder:
    """Bytes in, in any portions; packets out."""

    def __init__(self, limit):
        self._limit = limit
        self._small = self._buffer = memoryview(bytearray(_SMALL))
        self.reset()

    def reset(self):
        """Forget everything: a new connection begins."""
        self._buffer = self._small
        self._used = 0  # of the buffer
        self._skip = 0  # of what comes, before the next packet
        self._data = b""
        self._taken = 0  # of the data

    def feed(self, data):
        """Take what the socket gave; take_packet() until None uses it up."""
        self._data = data
        self._taken = 0

    def take_packet(self):
        """Return the next packet, or None while incomplete; WireError ends the connection."""
        skipped = min(self._skip, len(self._data) - self._taken)
        self._skip -= skipped
        self._taken += skipped
        buffer = self._buffer
        length, start = 0, 1
        while True:  # the remaining length, of 1 to 4 bytes
            if not self._fill(start + 1):
                return None
            byte = buffer[start]
            length |= (byte & 0x7F) << (7 * (start - 1))
            start += 1
            if byte < 0x80:
                break
            if start > _LENGTH_BYTES:
                raise WireError("cannot read packet: length has more than 4 bytes")
        first, wanted = buffer[0], length
        is_oversized = length > self._limit or not self._make_room(start + length)
        if is_oversized:
            if first >> 4 != 3:
                raise WireError("cannot read packet: %d bytes are too many" % length)
            if not self._fill(start + 2):
                return None
            wanted = 2 + (buffer[start] << 8 | buffer[start + 1]) + (2 if first & 0x06 else 0)
            if wanted > self._limit or not self._make_room(start + wanted):
                raise WireError("cannot read packet: topic of %d bytes" % wanted)
        if not self._fill(start + wanted):
            return None
        body = self._buffer[start : start + wanted]
        self._buffer = self._small
        self._used = 0
        self._skip = length - wanted
        return decode_body(first, body, is_oversized)

    def _make_room(self, size):
        """Take a buffer of its own for a larger packet; return whether there is memory for it."""
        if size > len(self._buffer):
            try:
                larger = memoryview(bytearray(size))
            except MemoryError:
                return False
            larger[: self._used] = self._buffer[: self._used]
            self._buffer = larger
        return True

    def _fill(self, wanted):
        """Move data until the buffer holds so many bytes; return whether it does."""
        used = self._used
        count = min(wanted - used, len(self._data) - self._taken)
        if count > 0:
            taken = self._taken + count
            self._buffer[used : used + count] = self._data[self._taken : taken]
            self._used = used + count
            self._taken = taken
        return self._used >= wanted


def decode_body(first, body, is_oversized=False):
    """Return the packet whose first byte and body these are."""
    kind = first >> 4
    size = len(body)
    if kind == 3:
        return _decode_publish(first & 0x0F, body, is_oversized)
    if not first & 0x0F:  # [MQTT-2.2.2-2]
        if kind == 2 and size == 2 and body[0] < 2:
            return 2, body[0] == 1, body[1]
        if kind == 4 and size == 2:
            return 4, _packet_id(body, 0)
        if kind == 9 and size > 2:
            return 9, _packet_id(body, 0), body[2]
        if kind == 13 and not size:
            return (13,)
    raise WireError("cannot read packet: 0x%02x with %d bytes" % (first, size))


def _decode_publish(flags, body, is_oversized):
    qos = flags >> 1 & 3
    if qos > 1:  # we subscribe at QoS 1, so 2 cannot come
        raise WireError("cannot read PUBLISH: QoS %d" % qos)
    size = len(body)
    end = 2 + (body[0] << 8 | body[1]) if size > 1 else 2
    payload = end + 2 * qos
    if size < payload:
        raise WireError("cannot read PUBLISH: topic reaches beyond the packet")
    try:
        topic = bytes(body[2:end]).decode()
    except ValueError:
        raise WireError("cannot read PUBLISH: topic is not UTF-8")
    packet_id = _packet_id(body, end) if qos else 0
    content = None
    if not is_oversized:
        try:
            content = bytes(body[payload:])
        except MemoryError:
            pass
    return 3, topic, content, packet_id, bool(flags & 1), bool(flags & 8)


def _packet_id(body, start):
    value = body[start] << 8 | body[start + 1]
    if not value:
        raise WireError("cannot read packet: packet id 0")  # [MQTT-2.3.1-1]
    return value
