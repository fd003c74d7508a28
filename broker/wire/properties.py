"""Properties to bytes and back; which packet may carry which."""

from collections.abc import Callable
from typing import Any

from broker.wire.errors import LocalProtocolError, RemoteProtocolError
from broker.wire.fields import (
    FieldReader,
    encode_binary,
    encode_length,
    encode_text,
    malformed,
    pack_u16,
    pack_u32,
)
from broker.wire.packets import PacketType as Type
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason

MAX_REPEATED = 1_000  # of user properties in one packet: each takes 5 bytes and over 100 in memory
WILL = 0  # the will's properties have a list of their own; no packet has type 0

_READ: dict[str, Callable[[FieldReader], Any]] = {
    "boolean": FieldReader.boolean,
    "two": FieldReader.u16,
    "four": FieldReader.u32,
    "length": FieldReader.varint,
    "text": FieldReader.text,
    "binary": FieldReader.binary,
    "pair": lambda reader: (reader.text(), reader.text()),  # [MQTT-1.5.7-1]
}
_WRITE: dict[str, Callable[[Any], bytes]] = {
    "boolean": lambda value: bytes((value,)),
    "two": pack_u16,
    "four": pack_u32,
    "length": encode_length,
    "text": encode_text,
    "binary": encode_binary,
    "pair": lambda value: encode_text(value[0]) + encode_text(value[1]),
}
_ACKS = frozenset({Type.PUBACK, Type.PUBREC, Type.PUBREL, Type.PUBCOMP})
_MESSAGE = frozenset({Type.PUBLISH, WILL})
_AUTH = frozenset({Type.CONNECT, Type.CONNACK, Type.AUTH})
_ANSWERS = _ACKS | {Type.CONNACK, Type.SUBACK, Type.UNSUBACK, Type.DISCONNECT, Type.AUTH}
_ALL = _ANSWERS | _MESSAGE | {Type.CONNECT, Type.SUBSCRIBE, Type.UNSUBSCRIBE}
_BOTH = frozenset({Type.CONNECT, Type.CONNACK})
_CONNACK = frozenset({Type.CONNACK})

# identifier: (field, type, packets that may carry it); MQTT 5, table 2-4. They are written in this
# order, which is free; test data of others has these three of a CONNACK in the order they have here
_TABLE: dict[int, tuple[str, str, frozenset[int]]] = {
    0x01: ("payload_format", "boolean", _MESSAGE),
    0x02: ("message_expiry_s", "four", _MESSAGE),
    0x03: ("content_type", "text", _MESSAGE),  # [MQTT-3.3.2-19]
    0x08: ("response_topic", "text", _MESSAGE),  # [MQTT-3.3.2-13]
    0x09: ("correlation_data", "binary", _MESSAGE),
    0x0B: ("subscription_identifiers", "length", frozenset({Type.PUBLISH, Type.SUBSCRIBE})),
    0x11: ("session_expiry_s", "four", _BOTH | {Type.DISCONNECT}),
    0x12: ("assigned_client_id", "text", _CONNACK),
    0x13: ("server_keep_alive_s", "two", _CONNACK),
    0x15: ("authentication_method", "text", _AUTH),
    0x16: ("authentication_data", "binary", _AUTH),
    0x17: ("request_problem_information", "boolean", frozenset({Type.CONNECT})),
    0x18: ("will_delay_s", "four", frozenset({WILL})),
    0x19: ("request_response_information", "boolean", frozenset({Type.CONNECT})),
    0x1A: ("response_information", "text", _CONNACK),
    0x1C: ("server_reference", "text", frozenset({Type.CONNACK, Type.DISCONNECT})),
    0x1F: ("reason_string", "text", _ANSWERS),
    0x22: ("topic_alias_maximum", "two", _BOTH),
    0x27: ("maximum_packet_bytes", "four", _BOTH),
    0x21: ("receive_maximum", "two", _BOTH),
    0x23: ("topic_alias", "two", frozenset({Type.PUBLISH})),
    0x24: ("maximum_qos", "boolean", _CONNACK),
    0x25: ("retain_available", "boolean", _CONNACK),
    0x26: ("user_properties", "pair", _ALL),
    0x28: ("wildcards_available", "boolean", _CONNACK),
    0x29: ("subscription_ids_available", "boolean", _CONNACK),
    0x2A: ("shared_subscriptions_available", "boolean", _CONNACK),
}
_REPEATED = frozenset({0x0B, 0x26})
_REPEATED_FIELDS = frozenset(_TABLE[each][0] for each in _REPEATED)
_NOT_ZERO = frozenset({0x0B, 0x21, 0x27})


def decode_properties(reader: FieldReader, owner: int) -> Properties:
    """Return the properties at the reader's place; owner is a packet type or WILL."""
    section = reader.section(reader.varint())
    if not section.left:
        return NO_PROPERTIES
    found: dict[str, Any] = {}
    while section.left:
        identifier = section.varint()
        if identifier not in _TABLE:
            raise malformed(f"property {identifier:#x} does not exist")
        field, kind, owners = _TABLE[identifier]
        if owner not in owners:
            raise malformed(f"{field} is not allowed here")
        value = _READ[kind](section)
        if not value and identifier in _NOT_ZERO:
            raise RemoteProtocolError(f"cannot read packet: {field} is 0")
        if identifier == 0x23 and not value:  # [MQTT-3.3.2-8]
            raise RemoteProtocolError(
                "cannot read packet: topic alias 0", Reason.TOPIC_ALIAS_INVALID
            )
        if identifier in _REPEATED:
            _note_repeated(found, field, value)
        elif field in found:
            raise RemoteProtocolError(f"cannot read packet: {field} twice")
        else:
            found[field] = value
    for field in _REPEATED_FIELDS & found.keys():
        found[field] = tuple(found[field])
    return Properties(**found)


def encode_properties(properties: Properties, owner: int) -> bytes:
    """Return the properties behind their length."""
    if properties is NO_PROPERTIES:
        return b"\x00"  # [MQTT-2.2.2-1]
    encoded = bytearray()
    for identifier, (field, kind, owners) in _TABLE.items():
        value = getattr(properties, field)
        if value is None or value == ():
            continue
        if owner not in owners:
            raise LocalProtocolError(f"cannot encode {field}: not allowed here")
        for each in value if identifier in _REPEATED else (value,):
            encoded += bytes((identifier,)) + _WRITE[kind](each)
    return encode_length(len(encoded)) + bytes(encoded)


def _note_repeated(found: dict[str, Any], field: str, value: Any) -> None:
    values = found.setdefault(field, [])
    if len(values) >= MAX_REPEATED:
        raise RemoteProtocolError(
            f"cannot read packet: {field} more than {MAX_REPEATED} times", Reason.QUOTA_EXCEEDED
        )
    values.append(value)
