"""Encodes and decodes whole packets."""

from collections.abc import Callable
from functools import partial
from typing import Any

from broker.wire import connecting, publishing, subscribing
from broker.wire.errors import RemoteProtocolError
from broker.wire.fields import MAX_VARINT, FieldReader, decode_length, encode_length, malformed
from broker.wire.packets import (
    MQTT_3_1,
    MQTT_5,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from broker.wire.packets import PacketType as Type
from broker.wire.reasons import Reason

DUPLICATE = 0x08
PUBLISH, AUTH = int(Type.PUBLISH), int(Type.AUTH)  # speed: plain numbers
_FLAGS: dict[int, int] = {
    Type.PUBREL: 2,
    Type.SUBSCRIBE: 2,
    Type.UNSUBSCRIBE: 2,
}  # [MQTT-2.1.3-1], all others 0
_TYPE_BY_CLASS: dict[type, Type] = {
    Connect: Type.CONNECT,
    ConnAck: Type.CONNACK,
    PubAck: Type.PUBACK,
    PubRec: Type.PUBREC,
    PubRel: Type.PUBREL,
    PubComp: Type.PUBCOMP,
    Subscribe: Type.SUBSCRIBE,
    SubAck: Type.SUBACK,
    Unsubscribe: Type.UNSUBSCRIBE,
    UnsubAck: Type.UNSUBACK,
    PingReq: Type.PINGREQ,
    PingResp: Type.PINGRESP,
    Disconnect: Type.DISCONNECT,
    Auth: Type.AUTH,
}


def _acknowledgement(packet_type: Type) -> Callable[[FieldReader, int], Any]:
    return lambda reader, version: publishing.decode_acknowledgement(packet_type, reader, version)


_DECODE: dict[int, Callable[[FieldReader, int], Any]] = {
    Type.CONNECT: lambda reader, _: connecting.decode_connect(reader),
    Type.CONNACK: connecting.decode_connack,
    Type.PUBACK: _acknowledgement(Type.PUBACK),
    Type.PUBREC: _acknowledgement(Type.PUBREC),
    Type.PUBREL: _acknowledgement(Type.PUBREL),
    Type.PUBCOMP: _acknowledgement(Type.PUBCOMP),
    Type.SUBSCRIBE: subscribing.decode_subscribe,
    Type.SUBACK: subscribing.decode_suback,
    Type.UNSUBSCRIBE: subscribing.decode_unsubscribe,
    Type.UNSUBACK: subscribing.decode_unsuback,
    Type.PINGREQ: lambda _, __: PingReq(),
    Type.PINGRESP: lambda _, __: PingResp(),
    Type.DISCONNECT: connecting.decode_disconnect,
    Type.AUTH: lambda reader, _: connecting.decode_auth(reader),
}


_ENCODE: dict[Type, Callable[[Any, int], bytes]] = {
    Type.CONNECT: lambda packet, _: connecting.encode_connect(packet),
    Type.CONNACK: connecting.encode_connack,
    Type.PUBACK: partial(publishing.encode_acknowledgement, Type.PUBACK),
    Type.PUBREC: partial(publishing.encode_acknowledgement, Type.PUBREC),
    Type.PUBREL: partial(publishing.encode_acknowledgement, Type.PUBREL),
    Type.PUBCOMP: partial(publishing.encode_acknowledgement, Type.PUBCOMP),
    Type.SUBSCRIBE: subscribing.encode_subscribe,
    Type.SUBACK: subscribing.encode_suback,
    Type.UNSUBSCRIBE: subscribing.encode_unsubscribe,
    Type.UNSUBACK: subscribing.encode_unsuback,
    Type.PINGREQ: lambda _, __: b"",
    Type.PINGRESP: lambda _, __: b"",
    Type.DISCONNECT: connecting.encode_disconnect,
    Type.AUTH: lambda packet, _: connecting.encode_auth(packet),
}
# speed: first byte and encoder of a packet class, in one look-up
_WRITERS = {
    kind: (bytes((each << 4 | _FLAGS.get(each, 0),)), _ENCODE[each])  # [MQTT-2.1.3-1]
    for kind, each in _TYPE_BY_CLASS.items()
}


def measure_packet(buffer: bytes, offset: int, limit_bytes: int) -> tuple[int, int] | None:
    """Return where the body of the packet at offset starts and ends, or None while unknown.

    Raises RemoteProtocolError as soon as the length is known to be above limit_bytes.
    """
    decoded = decode_length(buffer, offset + 1)
    if decoded is None:
        return None
    length, body = decoded
    if body - offset + length > limit_bytes:
        raise RemoteProtocolError(
            f"cannot take packet of {length} bytes: limit is {limit_bytes}",
            Reason.PACKET_TOO_LARGE,
        )
    return body, body + length


def decode_packet(
    buffer: bytes, version: int, limit_bytes: int = MAX_VARINT + 5
) -> tuple[Packet, int] | None:
    """Return one packet and its size, or None while incomplete."""
    if len(buffer) < 2:
        return None
    measured = measure_packet(buffer, 0, limit_bytes)
    if measured is None or measured[1] > len(buffer):
        return None
    body, end = measured
    return decode_body(buffer[0], FieldReader(buffer, body, end), version), end


def decode_body(first: int, reader: FieldReader, version: int) -> Packet:
    """Return the packet with this first byte and body; version does not matter for CONNECT."""
    packet_type, flags = first >> 4, first & 0x0F
    packet: Packet
    if packet_type == PUBLISH:
        return publishing.decode_publish(reader, flags, version)
    decode = _DECODE.get(packet_type)
    if decode is None or (packet_type == AUTH and version < MQTT_5):
        raise malformed(f"packet type {packet_type} does not exist")
    packet = decode(reader, version)
    reader.finish()
    if isinstance(packet, Connect):
        version = packet.version
    expected = _FLAGS.get(packet_type, 0)  # [MQTT-2.2.2-2] of 3.1.1
    if version == MQTT_3_1:
        # its packets may be marked as sent again; where it names no flags, it does not use them
        flags = flags & ~DUPLICATE if expected else 0
    if flags != expected:  # [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1]
        raise malformed(f"flags {flags:#x} in {Type(packet_type).name}")  # [MQTT-3.15.1-1]
    return packet


def encode_packet(packet: Packet, version: int) -> bytes:
    """Return the bytes of a packet."""
    if isinstance(packet, Publish):
        return publishing.encode_publish(packet, version)
    first, encode = _WRITERS[type(packet)]
    body = encode(packet, version)
    return first + encode_length(len(body)) + body
