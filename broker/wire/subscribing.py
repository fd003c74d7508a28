"""Encodes and decodes SUBSCRIBE, UNSUBSCRIBE and their answers."""

from collections.abc import Sized

from broker.wire.errors import RemoteProtocolError
from broker.wire.fields import FieldReader, encode_text, malformed, pack_u16
from broker.wire.packets import MQTT_5, SubAck, Subscribe, Subscription, UnsubAck, Unsubscribe
from broker.wire.packets import PacketType as Type
from broker.wire.properties import decode_properties, encode_properties
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason

NO_LOCAL, RETAIN_AS_PUBLISHED, RESERVED = 0x04, 0x08, 0xC0
RETAIN_HANDLING_SHIFT = 4
MAX_FILTERS = (
    1_000  # in one packet, which is handled in one go: as many as limits.py allows a client
)

SUBACK_CODES_3 = frozenset({0, 1, 2, 0x80})
SUBACK_CODES_5 = frozenset({0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2})
UNSUBACK_CODES = frozenset({0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91})


def decode_subscribe(reader: FieldReader, version: int) -> Subscribe:
    """Read the body of a SUBSCRIBE; the caller validates the filters (messages/topics.py)."""
    packet_id = reader.packet_id()
    properties = _decode_properties(reader, Type.SUBSCRIBE, version)
    identifiers = properties.subscription_identifiers
    if len(identifiers) > 1:
        raise RemoteProtocolError("cannot read SUBSCRIBE: two subscription identifiers")
    subscriptions = []
    while reader.left:
        subscriptions.append(_decode_subscription(reader, version, identifiers))
        _refuse_more(subscriptions)
    if not subscriptions:
        raise RemoteProtocolError("cannot read SUBSCRIBE: no filter")  # [MQTT-3.8.3-2]
    return Subscribe(packet_id, tuple(subscriptions), properties)


def _decode_subscription(
    reader: FieldReader, version: int, identifiers: tuple[int, ...]
) -> Subscription:
    topic_filter, options = reader.text(), reader.byte()  # [MQTT-3.8.3-1]
    qos = options & 3
    if version < MQTT_5:
        if options > 2:
            raise malformed("QoS 3, or reserved bits are set")  # [MQTT-3.8.3-4] of 3.1.1
        return Subscription(topic_filter, qos)
    retain_handling = options >> RETAIN_HANDLING_SHIFT & 3
    if options & RESERVED:
        raise malformed("reserved SUBSCRIBE bits are set")  # [MQTT-3.8.3-5]
    if qos == 3 or retain_handling == 3:  # section 3.8.3.1
        raise RemoteProtocolError("cannot read SUBSCRIBE: QoS or retain handling is 3")
    return Subscription(
        topic_filter,
        qos,
        bool(options & NO_LOCAL),
        bool(options & RETAIN_AS_PUBLISHED),
        retain_handling,
        identifiers,
    )


def encode_subscribe(packet: Subscribe, version: int) -> bytes:
    """Return the body of a SUBSCRIBE."""
    body = pack_u16(packet.packet_id)
    body += _encode_properties(packet.properties, Type.SUBSCRIBE, version)
    for each in packet.subscriptions:
        options = each.qos
        if version == MQTT_5:
            options |= NO_LOCAL if each.no_local else 0
            options |= RETAIN_AS_PUBLISHED if each.retain_as_published else 0
            options |= each.retain_handling << RETAIN_HANDLING_SHIFT
        body += encode_text(each.topic_filter) + bytes((options,))
    return body


def decode_suback(reader: FieldReader, version: int) -> SubAck:
    """Read the body of a SUBACK."""
    packet_id = reader.packet_id()
    properties = _decode_properties(reader, Type.SUBACK, version)
    allowed = SUBACK_CODES_5 if version == MQTT_5 else SUBACK_CODES_3
    return SubAck(packet_id, _codes(reader, allowed), properties)  # [MQTT-3.9.3-2]


def encode_suback(packet: SubAck, version: int) -> bytes:
    """Return the body of a SUBACK."""
    body = pack_u16(packet.packet_id)
    return body + _encode_properties(packet.properties, Type.SUBACK, version) + bytes(packet.codes)


def decode_unsubscribe(reader: FieldReader, version: int) -> Unsubscribe:
    """Read the body of an UNSUBSCRIBE."""
    packet_id = reader.packet_id()
    properties = _decode_properties(reader, Type.UNSUBSCRIBE, version)
    filters = []
    while reader.left:
        filters.append(reader.text())  # [MQTT-3.10.3-1]
        _refuse_more(filters)
    if not filters:
        raise RemoteProtocolError("cannot read UNSUBSCRIBE: no filter")  # [MQTT-3.10.3-2]
    return Unsubscribe(packet_id, tuple(filters), properties)


def encode_unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    """Return the body of an UNSUBSCRIBE."""
    body = pack_u16(packet.packet_id)
    body += _encode_properties(packet.properties, Type.UNSUBSCRIBE, version)
    return body + b"".join(encode_text(each) for each in packet.topic_filters)


def decode_unsuback(reader: FieldReader, version: int) -> UnsubAck:
    """Read the body of an UNSUBACK."""
    packet_id = reader.packet_id()
    if version < MQTT_5:
        return UnsubAck(packet_id)
    properties = decode_properties(reader, Type.UNSUBACK)
    return UnsubAck(packet_id, _codes(reader, UNSUBACK_CODES), properties)


def encode_unsuback(packet: UnsubAck, version: int) -> bytes:
    """Return the body of an UNSUBACK."""
    body = pack_u16(packet.packet_id)
    if version < MQTT_5:
        return body
    return body + encode_properties(packet.properties, Type.UNSUBACK) + bytes(packet.codes)


def _refuse_more(filters: Sized) -> None:
    if len(filters) > MAX_FILTERS:
        raise RemoteProtocolError(
            f"cannot read packet: more than {MAX_FILTERS} filters", Reason.QUOTA_EXCEEDED
        )


def _codes(reader: FieldReader, allowed: frozenset[int]) -> tuple[int, ...]:
    codes = tuple(reader.rest())
    if not allowed.issuperset(codes):
        raise malformed("a code is not allowed here")
    return codes


def _decode_properties(reader: FieldReader, owner: Type, version: int) -> Properties:
    return decode_properties(reader, owner) if version == MQTT_5 else NO_PROPERTIES


def _encode_properties(properties: Properties, owner: Type, version: int) -> bytes:
    return encode_properties(properties, owner) if version == MQTT_5 else b""
