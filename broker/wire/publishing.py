"""Encodes and decodes PUBLISH and its acknowledgements."""

from broker.wire.errors import LocalProtocolError
from broker.wire.fields import (
    FieldReader,
    decode_length,
    encode_length,
    encode_text,
    malformed,
    pack_u16,
)
from broker.wire.packets import (
    MQTT_5,
    Acknowledgement,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
)
from broker.wire.packets import PacketType as Type
from broker.wire.properties import decode_properties, encode_properties
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason

RETAIN, DUPLICATE = 0x01, 0x08
PUBLISH = Type.PUBLISH << 4

_RECEIVED = frozenset({0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99})  # [MQTT-3.4.2-1]
_RELEASED = frozenset({0x00, 0x92})  # [MQTT-3.6.2-1] [MQTT-3.7.2-1]
_ACKNOWLEDGEMENTS: dict[int, tuple[type[Acknowledgement], frozenset[int]]] = {
    Type.PUBACK: (PubAck, _RECEIVED),
    Type.PUBREC: (PubRec, _RECEIVED),  # [MQTT-3.5.2-1]
    Type.PUBREL: (PubRel, _RELEASED),
    Type.PUBCOMP: (PubComp, _RELEASED),
}


def decode_publish(reader: FieldReader, flags: int, version: int) -> Publish:
    """Read the body of a PUBLISH; the caller validates the topic (messages/topics.py)."""
    qos = flags >> 1 & 3
    duplicate = bool(flags & DUPLICATE)
    if qos == 3:
        raise malformed("QoS 3")  # [MQTT-3.3.1-4]
    if duplicate and not qos:
        raise malformed("DUP at QoS 0")  # [MQTT-3.3.1-2]
    topic = reader.text()  # [MQTT-3.3.2-1]
    packet_id = reader.packet_id() if qos else None  # [MQTT-2.2.1-2]
    properties = decode_properties(reader, Type.PUBLISH) if version == MQTT_5 else NO_PROPERTIES
    return Publish(
        topic, reader.rest(), qos, bool(flags & RETAIN), duplicate, packet_id, properties
    )


def publish_flags(qos: int, *, retain: bool, duplicate: bool = False) -> int:
    """Return the first byte of a PUBLISH."""
    return PUBLISH | qos << 1 | (RETAIN if retain else 0) | (DUPLICATE if duplicate else 0)


def encode_publish(packet: Publish, version: int) -> bytes:
    """Return a whole PUBLISH."""
    if (packet.packet_id is None) != (packet.qos == 0):
        raise LocalProtocolError("cannot encode PUBLISH: a packet id goes with QoS 1 and 2")
    first = publish_flags(packet.qos, retain=packet.retain, duplicate=packet.duplicate)
    head, body = encode_publish_parts(
        first, packet.topic, packet.payload, packet.properties, version
    )
    return head + (b"" if packet.packet_id is None else pack_u16(packet.packet_id)) + body


def encode_publish_parts(
    first: int, topic: str, payload: bytes, properties: Properties, version: int
) -> tuple[bytes, bytes]:
    """Return the bytes before and behind the packet id, shared by many receivers."""
    name = encode_text(topic)  # [MQTT-3.3.2-1]
    body = encode_properties(properties, Type.PUBLISH) + payload if version == MQTT_5 else payload
    length = len(name) + len(body) + (2 if first & 0x06 else 0)  # [MQTT-2.2.1-2]
    return bytes((first,)) + encode_length(length) + name, body


def encode_message_properties(properties: Properties) -> bytes:
    """Return the properties of a message in the form of the store; b"" for none."""
    if properties == NO_PROPERTIES:
        return b""
    return encode_properties(properties, Type.PUBLISH)


def decode_message_properties(stored: bytes) -> Properties:
    """Return the properties of a stored message."""
    return decode_properties(FieldReader(stored), Type.PUBLISH) if stored else NO_PROPERTIES


def read_topic(head: bytes) -> str:
    """Return the topic of the first part that encode_publish_parts() gives."""
    decoded = decode_length(head, 1)
    assert decoded is not None  # encoded or decoded before
    return head[decoded[1] + 2 :].decode()


def decode_acknowledgement(packet_type: int, reader: FieldReader, version: int) -> Acknowledgement:
    """Read the body of a PUBACK, PUBREC, PUBREL or PUBCOMP."""
    kind, allowed = _ACKNOWLEDGEMENTS[packet_type]
    packet_id = reader.packet_id()
    if version < MQTT_5 or not reader.left:
        return kind(packet_id)
    code = reader.byte()
    if code not in allowed:
        raise malformed(f"reason {code:#x} is not allowed here")
    properties = decode_properties(reader, packet_type) if reader.left else NO_PROPERTIES
    return kind(packet_id, Reason(code), properties)


def encode_acknowledgement(packet_type: int, packet: Acknowledgement, version: int) -> bytes:
    """Return the body of a PUBACK, PUBREC, PUBREL or PUBCOMP in its shortest form."""
    body = pack_u16(packet.packet_id)
    if version < MQTT_5 or (not packet.reason and packet.properties == NO_PROPERTIES):
        return body
    body += bytes((packet.reason,))
    if packet.properties == NO_PROPERTIES:
        return body
    return body + encode_properties(packet.properties, packet_type)
