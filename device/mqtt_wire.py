"""Encodes and decodes MQTT 3.1.1 packets, as far as a device needs: QoS 0 and 1. Pure.

The decoder has one buffer for one packet of `limit` bytes, made once: a board's heap may be too
fragmented for another one later. A PUBLISH that is larger is not an error, because a broker that
keeps the session would send it again after every reconnect: its topic and packet id are read, its
payload is None, and its bytes are skipped. The same holds for a payload that finds no memory.
"""

from collections import namedtuple

from device.errors import WireError

Connack = namedtuple("Connack", ("session_present", "code"))
Publish = namedtuple("Publish", ("topic", "payload", "packet_id", "retain", "dup"))
Puback = namedtuple("Puback", ("packet_id",))
Suback = namedtuple("Suback", ("packet_id", "codes"))
Pingresp = namedtuple("Pingresp", ())

PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"

REFUSALS = {  # CONNACK return codes, MQTT 3.1.1 table 3.1
    1: "it does not speak MQTT 3.1.1",
    2: "it does not like the client id",
    3: "it is not available",
    4: "bad user name or password",
    5: "not authorised",
}
CREDENTIALS_REFUSED = (4, 5)  # the others say nothing about user name and password

_LENGTH_BYTES = 4  # [MQTT-2.2.3]: so a remaining length is below 2**28
_TEXT_LIMIT = 65535


def encode_connect(client_id, login, keepalive_s, clean_session, will):
    """Return CONNECT; login is (user name, password) or None, will is (topic, payload) or None."""
    flags = 0x02 if clean_session else 0
    body = _text(client_id)
    if will is not None:
        flags |= 0x2C  # will flag, will QoS 1, will retain
        body += _text(will[0]) + _text(will[1])
    if login is not None:
        flags |= 0xC0
        body += _text(login[0]) + _text(login[1])
    return _packet(0x10, b"\x00\x04MQTT\x04" + bytes((flags,)) + _two(keepalive_s) + body)


def encode_publish(topic, payload, packet_id=0, retain=False, dup=False):
    """Return PUBLISH; packet id 0 means QoS 0."""
    return publish_head(topic, len(payload), packet_id, retain, dup) + payload


def publish_head(topic, payload_length, packet_id, retain=False, dup=False):
    """Return all of PUBLISH before its payload, which need not be copied then."""
    if dup and not packet_id:
        raise ValueError("cannot encode PUBLISH: DUP needs QoS 1")  # [MQTT-3.3.1-2]
    first = 0x30 | (0x08 if dup else 0) | (0x02 if packet_id else 0) | (0x01 if retain else 0)
    head = _text(topic) + (_two(packet_id) if packet_id else b"")
    return _packet(first, head, payload_length)


def encode_puback(packet_id):
    """Return PUBACK."""
    return _packet(0x40, _two(packet_id))


def encode_subscribe(packet_id, *topic_filters):
    """Return SUBSCRIBE of filters at QoS 1."""
    body = b"".join(_text(topic_filter) + b"\x01" for topic_filter in topic_filters)
    return _packet(0x82, _two(packet_id) + body)  # [MQTT-3.8.1-1]


class Decoder:
    """Bytes in, in any portions; packets out."""

    def __init__(self, limit):
        self._limit = limit
        self._buffer = memoryview(bytearray(limit + _LENGTH_BYTES + 1))
        self.reset()

    def reset(self):
        """Forget everything: a new connection begins."""
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
        wanted, head = 2, None
        while head is None:
            if not self._fill(wanted):
                return None
            head = decode_length(self._buffer[: self._used])
            wanted = self._used + 1
        length, start = head
        if length > self._limit:
            return self._take_oversized(start, start + length)
        if not self._fill(start + length):
            return None
        self._used = 0
        return decode_body(self._buffer[0], self._buffer[start : start + length])

    def _fill(self, wanted):
        """Move data until the buffer holds so many bytes; return whether it does."""
        count = min(wanted - self._used, len(self._data) - self._taken)
        if count > 0:
            part = self._data[self._taken : self._taken + count]
            self._buffer[self._used : self._used + count] = part
            self._used += count
            self._taken += count
        return self._used >= wanted

    def _take_oversized(self, start, end):
        first = self._buffer[0]
        if first >> 4 != 3:
            raise WireError("cannot read packet: %d bytes are too many" % (end - start))
        if not self._fill(start + 2):
            return None
        head = 2 + (self._buffer[start] << 8 | self._buffer[start + 1]) + (2 if first & 0x06 else 0)
        if head > self._limit:
            raise WireError("cannot read packet: topic of %d bytes" % head)
        if not self._fill(start + head):
            return None
        packet = decode_body(first, self._buffer[start : start + head])
        self._used = 0
        self._skip = end - start - head
        return Publish(packet.topic, None, packet.packet_id, packet.retain, packet.dup)


def decode_length(buffer):
    """Return (remaining length, where the body starts), or None while incomplete."""
    length = 0
    for n in range(_LENGTH_BYTES):
        if len(buffer) < n + 2:
            return None
        byte = buffer[n + 1]
        length |= (byte & 0x7F) << (7 * n)
        if not byte & 0x80:
            return length, n + 2
    raise WireError("cannot read packet: length has more than 4 bytes")


def decode_body(first, body):
    """Return the packet whose first byte and body these are."""
    kind, flags = first >> 4, first & 0x0F
    if kind == 3:
        return _decode_publish(flags, body)
    if flags:  # [MQTT-2.2.2-2]
        raise WireError("cannot read packet: flags of 0x%02x are reserved" % first)
    if kind == 2 and len(body) == 2 and body[0] < 2:
        return Connack(body[0] == 1, body[1])
    if kind == 4 and len(body) == 2:
        return Puback(_packet_id(body, 0))
    if kind == 9 and len(body) > 2:
        return Suback(_packet_id(body, 0), tuple(body[2:]))
    if kind == 13 and not body:
        return Pingresp()
    raise WireError("cannot read packet: 0x%02x with %d bytes" % (first, len(body)))


def _decode_publish(flags, body):
    qos = flags >> 1 & 3
    if qos > 1:  # we subscribe at QoS 1, so 2 cannot come
        raise WireError("cannot read PUBLISH: QoS %d" % qos)
    if len(body) < 2:
        raise WireError("cannot read PUBLISH: no topic")
    end = 2 + (body[0] << 8 | body[1])
    payload = end + 2 * qos
    if len(body) < payload:
        raise WireError("cannot read PUBLISH: topic reaches beyond the packet")
    try:
        topic = bytes(body[2:end]).decode()
    except ValueError:
        raise WireError("cannot read PUBLISH: topic is not UTF-8")
    packet_id = _packet_id(body, end) if qos else 0
    try:
        content = bytes(body[payload:])
    except MemoryError:
        content = None
    return Publish(topic, content, packet_id, bool(flags & 1), bool(flags & 8))


def _packet_id(body, start):
    value = body[start] << 8 | body[start + 1]
    if not value:
        raise WireError("cannot read packet: packet id 0")  # [MQTT-2.3.1-1]
    return value


def _packet(first, body, more=0):
    length = len(body) + more
    head = bytes((first,))
    while length > 0x7F:
        head += bytes((length & 0x7F | 0x80,))
        length >>= 7
    return head + bytes((length,)) + body


def _text(text):
    encoded = text if isinstance(text, bytes) else text.encode()
    if len(encoded) > _TEXT_LIMIT:
        raise ValueError("cannot encode text: %d bytes are too many" % len(encoded))
    return _two(len(encoded)) + encoded


def _two(value):
    return bytes((value >> 8, value & 0xFF))
