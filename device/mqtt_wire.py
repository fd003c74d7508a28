"""Encodes and decodes MQTT 3.1.1 packets, as far as a device needs: QoS 0 and 1. Pure.

The decoder never holds more than one packet of `limit` bytes. A PUBLISH that is larger is not an
error, because a broker that keeps the session would send it again after every reconnect: its topic
and packet id are read, its payload is None, and its bytes are skipped.
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
    if dup and not packet_id:
        raise ValueError("cannot encode PUBLISH: DUP needs QoS 1")  # [MQTT-3.3.1-2]
    first = 0x30 | (0x08 if dup else 0) | (0x02 if packet_id else 0) | (0x01 if retain else 0)
    return _packet(first, _text(topic) + (_two(packet_id) if packet_id else b"") + payload)


def encode_puback(packet_id):
    """Return PUBACK."""
    return _packet(0x40, _two(packet_id))


def encode_subscribe(packet_id, topic_filter):
    """Return SUBSCRIBE of one filter at QoS 1."""
    return _packet(0x82, _two(packet_id) + _text(topic_filter) + b"\x01")  # [MQTT-3.8.1-1]


class Decoder:
    """Bytes in, in any portions; packets out."""

    def __init__(self, limit):
        self._limit = limit
        self._buffer = b""
        self._skip = 0

    def feed(self, data):
        """Take what the socket gave."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._buffer = self._buffer + data if self._buffer else data

    def take_packet(self):
        """Return the next packet, or None while incomplete; WireError ends the connection."""
        buffer = self._buffer
        head = decode_length(buffer)
        if head is None:
            return None
        length, start = head
        end = start + length
        if length > self._limit:
            return self._take_oversized(start, end)
        if len(buffer) < end:
            return None
        self._buffer = buffer[end:]
        return decode_body(buffer[0], buffer[start:end])

    def _take_oversized(self, start, end):
        buffer = self._buffer
        if buffer[0] >> 4 != 3:
            raise WireError("cannot read packet: %d bytes are too many" % (end - start))
        if len(buffer) < start + 2:
            return None
        head = 2 + (buffer[start] << 8 | buffer[start + 1]) + (2 if buffer[0] & 0x06 else 0)
        if head > self._limit:
            raise WireError("cannot read packet: topic of %d bytes" % head)
        if len(buffer) < start + head:
            return None
        packet = decode_body(buffer[0], buffer[start : start + head])
        self._buffer = b""
        rest = buffer[start + head :]
        self._skip = end - start - head
        self.feed(rest)
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
    return Publish(topic, body[payload:], packet_id, bool(flags & 1), bool(flags & 8))


def _packet_id(body, start):
    value = body[start] << 8 | body[start + 1]
    if not value:
        raise WireError("cannot read packet: packet id 0")  # [MQTT-2.3.1-1]
    return value


def _packet(first, body):
    length = len(body)
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
