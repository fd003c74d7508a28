"""Encodes and decodes the packets of MQTT 5 that a client of the gateway's broker needs.

The client announces no topic alias and uses no QoS 2, no will and no AUTH; a packet of those kinds
from the broker is a fault.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from microservice.errors import MicroserviceError

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 11, 13, 14
PING, GOODBYE = b"\xc0\x00", b"\xe0\x00"
DUPLICATE = 0x08
MAX_VARINT = 268_435_455

Pairs = tuple[tuple[str, str], ...]


class WireError(MicroserviceError):
    """The broker sent bytes that are no packet of this client."""


@dataclass(frozen=True, slots=True)
class MessageProperties:
    """The properties that travel with a message."""

    user: Pairs = ()
    content_type: str = ""
    response_topic: str = ""
    correlation: bytes = b""
    expiry_s: int | None = None


NO_PROPERTIES = MessageProperties()


@dataclass(slots=True)  # speed: a frozen one takes three times as long to make
class Incoming:
    """A PUBLISH from the broker; never changed."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    packet_id: int  # 0 at QoS 0
    properties: MessageProperties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Answer:
    """A CONNACK, PUBACK, SUBACK, UNSUBACK, PINGRESP or DISCONNECT."""

    kind: int
    packet_id: int = 0
    codes: tuple[int, ...] = (0,)
    session_present: bool = False
    receive_maximum: int = 65_535
    packet_limit: int = MAX_VARINT
    keep_alive_s: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """The options of one subscription."""

    qos: int = 1
    no_local: bool = False
    retain_handling: int = 1  # 0: retained messages always, 1: if the subscription is new, 2: none

    @property
    def byte(self) -> int:
        """The options as they are sent."""
        return self.qos | self.no_local << 2 | self.retain_handling << 4


# Reading -----------------------------------------------------------------------------------


def measure(buffer: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Return where the body of a packet starts and ends; None while that is not known."""
    length = shift = 0
    for place in range(at + 1, min(at + 5, len(buffer))):
        byte = buffer[place]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return place + 1, place + 1 + length
        shift += 7
    if len(buffer) >= at + 5:
        raise WireError("cannot read packet: its length has more than four bytes")
    return None


def decode_publish(first: int, body: bytes) -> Incoming:
    """Return the message in the body of a PUBLISH."""
    qos = first >> 1 & 3
    topic_end = 2 + (body[0] << 8 | body[1])
    at = topic_end + 2 if qos else topic_end
    packet_id = body[topic_end] << 8 | body[topic_end + 1] if qos else 0
    properties = NO_PROPERTIES
    if body[at]:  # speed: most messages have none
        properties, at = _decode_message_properties(body, at)
    else:
        at += 1
    if qos > 1 or topic_end == 2:
        raise WireError("cannot read PUBLISH: QoS 2 or an alias")
    topic, payload = body[2:topic_end].decode(), body[at:]
    return Incoming(
        topic, payload, qos, bool(first & 1), bool(first & DUPLICATE), packet_id, properties
    )


def decode_answer(first: int, body: bytes) -> Answer:
    """Return any other packet."""
    kind = first >> 4
    if kind == CONNACK:
        found, _ = _decode_properties(body, 2)
        return Answer(
            kind,
            codes=(body[1],),
            session_present=bool(body[0]),
            receive_maximum=found.get(0x21, 65_535),
            packet_limit=found.get(0x27, MAX_VARINT),
            keep_alive_s=found.get(0x13),
            reason=found.get(0x1F, ""),
        )
    if kind == PUBACK:
        reason = ""
        if len(body) > 3:
            reason = _decode_properties(body, 3)[0].get(0x1F, "")
        codes = (body[2],) if len(body) > 2 else (0,)
        return Answer(kind, body[0] << 8 | body[1], codes, reason=reason)
    if kind in (SUBACK, UNSUBACK):
        _, at = _decode_properties(body, 2)
        return Answer(kind, body[0] << 8 | body[1], tuple(body[at:]))
    if kind == DISCONNECT:
        return Answer(kind, codes=(body[0],) if body else (0,))
    if kind == PINGRESP:
        return Answer(kind)
    raise WireError(f"cannot read packet: type {kind} is not for this client")


def _decode_message_properties(body: bytes, at: int) -> tuple[MessageProperties, int]:
    found, at = _decode_properties(body, at)
    return (
        MessageProperties(
            tuple(found.get(0x26, ())),
            found.get(0x03, ""),
            found.get(0x08, ""),
            found.get(0x09, b""),
            found.get(0x02),
        ),
        at,
    )


def _byte(body: bytes, at: int) -> tuple[int, int]:
    return body[at], at + 1


def _two(body: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(body[at : at + 2], "big"), at + 2


def _four(body: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(body[at : at + 4], "big"), at + 4


def _varint(body: bytes, at: int) -> tuple[int, int]:
    measured = measure(body, at - 1)
    if measured is None:
        raise WireError("cannot read properties: a length is cut off")
    return measured[1] - measured[0], measured[0]


def _binary(body: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + (body[at] << 8 | body[at + 1])
    return body[at + 2 : end], end


def _text(body: bytes, at: int) -> tuple[str, int]:
    raw, end = _binary(body, at)
    return raw.decode(), end


def _pair(body: bytes, at: int) -> tuple[tuple[str, str], int]:
    name, at = _text(body, at)
    value, at = _text(body, at)
    return (name, value), at


_READ: dict[int, Callable[[bytes, int], tuple[Any, int]]] = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), _byte),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), _two),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), _four),
    **dict.fromkeys((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F), _text),
    **dict.fromkeys((0x09, 0x16), _binary),
    0x0B: _varint,
    0x26: _pair,
}


def _decode_properties(body: bytes, at: int) -> tuple[dict[int, Any], int]:
    length, at = _varint(body, at)
    end = at + length
    found: dict[int, Any] = {}
    while at < end:
        identifier = body[at]
        read = _READ.get(identifier)
        if read is None:
            raise WireError(f"cannot read properties: {identifier:#x} is not known")
        value, at = read(body, at + 1)
        if identifier == 0x26:
            found.setdefault(identifier, []).append(value)
        else:
            found[identifier] = value
    if at != end:
        raise WireError("cannot read properties: one is cut off")
    return found, end


# Writing -----------------------------------------------------------------------------------


def encode_connect(
    client_id: str, username: str, password: str, keep_alive_s: int, window: int, expiry_s: int
) -> bytes:
    """Return a CONNECT that resumes the session."""
    properties = b"\x11" + expiry_s.to_bytes(4, "big") + b"\x21" + window.to_bytes(2, "big")
    head = b"\x00\x04MQTT\x05\xc0" + keep_alive_s.to_bytes(2, "big")
    texts = _encode_text(client_id) + _encode_text(username) + _encode_text(password)
    return _packet(0x10, head + encode_length(len(properties)) + properties + texts)


def encode_publish(
    topic: str,
    payload: bytes,
    *,
    qos: int,
    retain: bool,
    packet_id: int,
    properties: MessageProperties,
) -> bytes:
    """Return a PUBLISH; packet_id does not matter at QoS 0."""
    name = topic.encode()
    number = packet_id.to_bytes(2, "big") if qos else b""
    written = b"\x00" if properties is NO_PROPERTIES else _encode_message_properties(properties)
    first = PUBLISH << 4 | qos << 1 | retain
    length = 2 + len(name) + len(number) + len(written) + len(payload)
    head = bytes((first,)) + encode_length(length) + len(name).to_bytes(2, "big")
    return b"".join((head, name, number, written, payload))


def encode_pubacks(packet_ids: Iterable[int]) -> bytes:
    """Return a PUBACK for each packet id."""
    return b"".join([b"\x40\x02" + each.to_bytes(2, "big") for each in packet_ids])


def encode_subscribe(packet_id: int, filters: Sequence[tuple[str, FilterOptions]]) -> bytes:
    """Return a SUBSCRIBE."""
    asked = b"".join(_encode_text(topic) + bytes((each.byte,)) for topic, each in filters)
    return _packet(0x82, packet_id.to_bytes(2, "big") + b"\x00" + asked)


def encode_unsubscribe(packet_id: int, filters: Sequence[str]) -> bytes:
    """Return an UNSUBSCRIBE."""
    return _packet(
        0xA2, packet_id.to_bytes(2, "big") + b"\x00" + b"".join(map(_encode_text, filters))
    )


def encode_length(length: int) -> bytes:
    """Return a variable byte integer."""
    if length < 0x80:
        return bytes((length,))
    if length > MAX_VARINT:
        raise WireError(f"cannot send packet: {length} bytes are too many")
    written = bytearray()
    while length >= 0x80:
        written.append(length & 0x7F | 0x80)
        length >>= 7
    written.append(length)
    return bytes(written)


def _encode_message_properties(properties: MessageProperties) -> bytes:
    parts = []
    if properties.expiry_s is not None:
        parts.append(b"\x02" + properties.expiry_s.to_bytes(4, "big"))
    if properties.content_type:
        parts.append(b"\x03" + _encode_text(properties.content_type))
    if properties.response_topic:
        parts.append(b"\x08" + _encode_text(properties.response_topic))
    if properties.correlation:
        parts.append(b"\x09" + _encode_binary(properties.correlation))
    for name, value in properties.user:
        parts.append(b"\x26" + _encode_text(name) + _encode_text(value))
    written = b"".join(parts)
    return encode_length(len(written)) + written


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + encode_length(len(body)) + body


def _encode_text(text: str) -> bytes:
    return _encode_binary(text.encode())


def _encode_binary(raw: bytes) -> bytes:
    if len(raw) > 0xFFFF:
        raise WireError(f"cannot send text: {len(raw)} bytes, of at most 65535")
    return len(raw).to_bytes(2, "big") + raw
