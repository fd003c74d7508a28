"""Encodes and decodes CONNECT, CONNACK, DISCONNECT and AUTH."""

from broker.wire.errors import LocalProtocolError, RemoteProtocolError
from broker.wire.fields import FieldReader, encode_binary, encode_text, malformed, pack_u16
from broker.wire.packets import (
    MQTT_3_1,
    MQTT_3_1_1,
    MQTT_5,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Will,
)
from broker.wire.packets import PacketType as Type
from broker.wire.properties import WILL, decode_properties, encode_properties
from broker.wire.property_values import NO_PROPERTIES
from broker.wire.reasons import Reason

BRIDGE = 0x80  # bit of the level that Mosquitto's bridges of 3.1 and 3.1.1 set
_NAMES = {MQTT_3_1: "MQIsdp", MQTT_3_1_1: "MQTT", MQTT_5: "MQTT"}

CLEAN_START, WILL_FLAG, WILL_RETAIN, PASSWORD, USERNAME = 0x02, 0x04, 0x20, 0x40, 0x80
WILL_QOS_SHIFT = 3

_DISCONNECT_REASONS = frozenset(  # [MQTT-3.14.2-1]
    {0x00, 0x04, *range(0x80, 0x84), 0x87, 0x89, 0x8B, *range(0x8D, 0x91), *range(0x93, 0xA3)}
)
_AUTH_REASONS = frozenset({0x00, 0x18, 0x19})


def peek_version(body: bytes) -> int | None:
    """Return the protocol level of a CONNECT that may be damaged, to choose the answer's form.

    The level of a bridge is returned without its bridge bit.
    """
    try:
        reader = FieldReader(body)
        reader.binary()
        return reader.byte() & ~BRIDGE
    except RemoteProtocolError:
        return None


def decode_connect(reader: FieldReader) -> Connect:
    """Read the body of a CONNECT."""
    name = reader.text()
    level = reader.byte()
    version = level & ~BRIDGE if level & ~BRIDGE < MQTT_5 else level
    if _NAMES.get(version) != name:  # [MQTT-3.1.2-1] [MQTT-3.1.2-2]; [MQTT-3.1.2-1] of 3.1.1
        raise RemoteProtocolError(
            f"protocol {name!r} level {level} is not supported", Reason.UNSUPPORTED_PROTOCOL_VERSION
        )
    flags = reader.byte()
    if flags & 0x01 and version != MQTT_3_1:  # 3.1 does not use the bit
        raise malformed("reserved CONNECT flag is set")  # [MQTT-3.1.2-3]
    keep_alive_s = reader.u16()
    five = version == MQTT_5
    properties = decode_properties(reader, Type.CONNECT) if five else NO_PROPERTIES
    if properties.authentication_data is not None and properties.authentication_method is None:
        raise RemoteProtocolError("cannot read CONNECT: authentication data without method")
    client_id = reader.text()  # [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.3-4]
    will = _decode_will(reader, flags, five=five)
    if flags & PASSWORD and not flags & USERNAME and not five:
        raise malformed("password without user name")  # [MQTT-3.1.2-22] of 3.1.1
    if version == MQTT_3_1 and not reader.left:
        flags &= ~(USERNAME | PASSWORD)  # may be missing: 3.1 gives the length precedence
    username = reader.text() if flags & USERNAME else None  # [MQTT-3.1.2-16] [MQTT-3.1.2-17]
    if version == MQTT_3_1 and not reader.left:
        flags &= ~PASSWORD
    password = reader.binary() if flags & PASSWORD else None  # [MQTT-3.1.2-18] [MQTT-3.1.2-19]
    return Connect(
        client_id,
        version,
        bool(flags & CLEAN_START),
        keep_alive_s,
        will,
        username,
        password,
        properties,
        is_bridge=level != version,
    )


def _decode_will(reader: FieldReader, flags: int, *, five: bool) -> Will | None:
    qos = flags >> WILL_QOS_SHIFT & 3
    if not flags & WILL_FLAG:
        if qos or flags & WILL_RETAIN:  # [MQTT-3.1.2-11] [MQTT-3.1.2-13]
            raise malformed("will options without will")
        return None
    if qos == 3:
        raise malformed("will QoS 3")  # [MQTT-3.1.2-12]
    properties = decode_properties(reader, WILL) if five else NO_PROPERTIES
    topic = reader.text()  # [MQTT-3.1.2-9] [MQTT-3.1.3-11]
    payload = reader.binary()
    return Will(topic, payload, qos, bool(flags & WILL_RETAIN), properties)


def encode_connect(packet: Connect) -> bytes:
    """Return the body of a CONNECT."""
    if packet.version not in _NAMES:
        raise LocalProtocolError(f"cannot encode CONNECT: level {packet.version} does not exist")
    five, will = packet.version == MQTT_5, packet.will
    flags = CLEAN_START if packet.clean_start else 0
    parts = [encode_text(packet.client_id)]
    if will is not None:
        flags |= WILL_FLAG | will.qos << WILL_QOS_SHIFT | (WILL_RETAIN if will.retain else 0)
        if five:
            parts.append(encode_properties(will.properties, WILL))
        parts += encode_text(will.topic), encode_binary(will.payload)
    if packet.username is not None:
        flags |= USERNAME
        parts.append(encode_text(packet.username))
    if packet.password is not None:
        flags |= PASSWORD
        parts.append(encode_binary(packet.password))
    level = packet.version | BRIDGE if packet.is_bridge else packet.version
    head = encode_text(_NAMES[packet.version]) + bytes((level, flags))
    head += pack_u16(packet.keep_alive_s)
    if five:
        head += encode_properties(packet.properties, Type.CONNECT)
    return head + b"".join(parts)


def decode_connack(reader: FieldReader, version: int) -> ConnAck:
    """Read the body of a CONNACK."""
    flags, code = reader.byte(), reader.byte()
    if flags > 1:
        raise malformed("reserved CONNACK flag is set")  # [MQTT-3.2.2-1]
    if version < MQTT_5:
        return ConnAck(code, flags == 1)
    return ConnAck(code, flags == 1, decode_properties(reader, Type.CONNACK))


def encode_connack(packet: ConnAck, version: int) -> bytes:
    """Return the body of a CONNACK."""
    body = bytes((packet.session_present, packet.code))  # [MQTT-3.2.2-1]
    if version < MQTT_5:
        return body
    return body + encode_properties(packet.properties, Type.CONNACK)


def decode_disconnect(reader: FieldReader, version: int) -> Disconnect:
    """Read the body of a DISCONNECT; all of it may be left out."""
    if version < MQTT_5 or not reader.left:
        return Disconnect()
    reason = _reason(reader.byte(), _DISCONNECT_REASONS)
    if not reader.left:
        return Disconnect(reason)
    return Disconnect(reason, decode_properties(reader, Type.DISCONNECT))


def encode_disconnect(packet: Disconnect, version: int) -> bytes:
    """Return the body of a DISCONNECT in its shortest form."""
    if version < MQTT_5:
        return b""
    return _encode_short(packet.reason, packet, Type.DISCONNECT)


def decode_auth(reader: FieldReader) -> Auth:
    """Read the body of an AUTH; all of it may be left out."""
    if not reader.left:
        return Auth()
    reason = _reason(reader.byte(), _AUTH_REASONS)  # [MQTT-3.15.2-1]
    return Auth(reason, decode_properties(reader, Type.AUTH) if reader.left else NO_PROPERTIES)


def encode_auth(packet: Auth) -> bytes:
    """Return the body of an AUTH in its shortest form."""
    return _encode_short(packet.reason, packet, Type.AUTH)


def _encode_short(reason: Reason, packet: Disconnect | Auth, owner: Type) -> bytes:
    if packet.properties != NO_PROPERTIES:
        return bytes((reason,)) + encode_properties(packet.properties, owner)
    return bytes((reason,)) if reason else b""


def _reason(value: int, allowed: frozenset[int]) -> Reason:
    if value not in allowed:
        raise malformed(f"reason {value:#x} is not allowed here")
    return Reason(value)
