"""Translates the topic aliases of MQTT 5, separately in each direction.

Theory of operation
-------------------
Packets from clients are put back into the long form when they are read; packets to clients are
shortened when they are written. No code in between handles aliases, and the store never holds one.
An alias ends with its connection. [MQTT-3.3.2-7]

A topic gets an outgoing alias at its first message, if one is free, and keeps it. No packet becomes
longer than the client accepts.
"""

from broker.wire import decode_length, encode_length

PUBLISH = 3
ALIAS = b"\x23"
ALIAS_BYTES = 3  # of the property
HAS_ID = 0x06  # the bits of the QoS

NO_TOPIC = b"\x00\x00"
ALIAS_ONLY = b"\x03\x23"  # three bytes of properties, and these are an alias


class OutgoingAliases:
    """Shortens the packets to one client."""

    __slots__ = ("_aliases", "_maximum", "_packet_bytes")

    def __init__(self, maximum: int, packet_bytes: int) -> None:
        self._maximum = maximum
        self._packet_bytes = packet_bytes
        self._aliases: dict[bytes, bytes] = {}

    def shorten(self, output: bytes) -> bytes:
        """Return whole packets with aliases where they save bytes."""
        pieces: list[bytes] = []
        at = kept = 0  # the bytes between stay as they are
        while at < len(output):
            decoded = decode_length(output, at + 1)
            assert decoded is not None  # the broker has encoded it
            body, end = decoded[1], decoded[1] + decoded[0]
            if output[at] >> 4 == PUBLISH:
                shorter = self._shorten_publish(output, at, body, end)
                if shorter is not None:
                    pieces += output[kept:at], shorter
                    kept = end
            at = end
        if not pieces:
            return output
        pieces.append(output[kept:])
        return b"".join(pieces)

    def _shorten_publish(self, output: bytes, at: int, body: int, end: int) -> bytes | None:
        topic_end = body + 2 + int.from_bytes(output[body : body + 2], "big")
        if topic_end - body - 2 <= ALIAS_BYTES:  # it would save nothing
            return None
        name = output[body:topic_end]
        alias = self._aliases.get(name)
        if alias is not None:
            name = NO_TOPIC
        elif len(self._aliases) >= self._maximum:  # [MQTT-3.1.2-26] [MQTT-3.3.2-11]
            return None
        else:
            alias = (len(self._aliases) + 1).to_bytes(2, "big")  # [MQTT-3.3.2-8]
        id_end = topic_end + (2 if output[at] & HAS_ID else 0)
        decoded = decode_length(output, id_end)
        assert decoded is not None  # the broker has encoded it
        size, properties = decoded
        rest = b"".join(
            (name, output[topic_end:id_end], encode_length(size + ALIAS_BYTES), ALIAS, alias)
        )
        length = len(rest) + end - properties
        head = output[at : at + 1] + encode_length(length)
        if len(head) + length > self._packet_bytes:  # [MQTT-3.1.2-24]
            return None
        if name is not NO_TOPIC:
            self._aliases[name] = alias
        return head + rest + output[properties:end]


def read_aliased(buffer: bytes, start: int) -> tuple[int, int, int] | None:
    """Return the ends of packet id, properties and packet of a PUBLISH with an alias only.

    The packet id has no bytes at QoS 0. The alias is the two bytes before the payload.
    """
    decoded = decode_length(buffer, start + 1)
    if decoded is None:
        return None
    length, body = decoded
    id_end = body + 2 + (2 if buffer[start] & HAS_ID else 0)
    payload, end = id_end + 4, body + length
    if payload > end or end > len(buffer):
        return None
    if not buffer.startswith(NO_TOPIC, body) or not buffer.startswith(ALIAS_ONLY, id_end):
        return None
    return id_end, payload, end


def long_head(first: int, topic: bytes, payload_bytes: int) -> bytes:
    """Return the bytes before the packet id of an MQTT 5 PUBLISH without alias."""
    length = 2 + len(topic) + (2 if first & HAS_ID else 0) + 1 + payload_bytes
    return bytes((first,)) + encode_length(length) + len(topic).to_bytes(2, "big") + topic
