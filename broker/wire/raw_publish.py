"""Measures and translates plain PUBLISH packets without decoding them.

Plain means: no RETAIN, no DUP, no properties (MQTT 5 has an empty list of them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.wire import decode_length, encode_length

if TYPE_CHECKING:
    from collections.abc import Iterator


Parts = tuple[bytes, bytes]  # of a PUBLISH: before and behind its packet id

PLAIN_QOS0, PLAIN_QOS1, PLAIN_QOS2 = 0x30, 0x32, 0x34  # [MQTT-3.3.1-3]


def measure_length(buffer: bytes, first: int, at: int) -> tuple[int, int]:
    """Return length and start of a body from the first byte of its length and the next offset.

    An incomplete length reaches beyond the buffer.
    """
    second = buffer[at]
    if 0 < second < 0x80:
        return first & 0x7F | second << 7, at + 1
    return decode_length(buffer, at - 1) or (len(buffer), at)


def measure_publish(buffer: bytes, start: int, kind: int) -> tuple[int, int, int]:
    """Return the start of the body and the ends of packet and topic; beyond the buffer if none."""
    beyond = len(buffer) + 1
    body = start + 2
    if buffer[start] != kind:
        return body, beyond, beyond
    length = buffer[start + 1]
    if length & 0x80:
        decoded = decode_length(buffer, start + 1)
        if decoded is None:
            return body, beyond, beyond
        length, body = decoded
    if length < 3 or body + 2 > len(buffer):
        return body, beyond, beyond
    return body, body + length, body + 2 + (buffer[body] << 8 | buffer[body + 1])


def translate_parts(parts: Parts, first: int, from_five: bool, to_five: bool) -> Parts:
    """Return the same message for another QoS or version; first is its new first byte."""
    head, body = parts
    decoded = decode_length(head, 1)
    assert decoded is not None  # decoded before
    length, topic_at = decoded
    if from_five and not to_five:
        body = body[1:]
    elif to_five and not from_five:
        body = b"\x00" + body
    topic = head[topic_at:]
    length = len(topic) + len(body) + (2 if first & 0x06 else 0)
    return bytes((first,)) + encode_length(length) + topic, body


def join_qos0(parts: list[Parts], from_five: bool, to_five: bool) -> bytes:
    """Return messages of another QoS as packets of QoS 0."""
    translated = (translate_parts(each, PLAIN_QOS0, from_five, to_five) for each in parts)
    return b"".join(head + body for head, body in translated)


def translate_chunk(chunk: bytes, *, to_five: bool) -> bytes:
    """Return packets of QoS 0 in the other version."""
    return b"".join(_translate(chunk, to_five=to_five))


def _translate(chunk: bytes, *, to_five: bool) -> Iterator[bytes]:
    at = 0
    while at < len(chunk):
        body, end, topic_end = measure_publish(chunk, at, PLAIN_QOS0)
        rest_at = topic_end if to_five else topic_end + 1
        rest = (b"\x00" if to_five else b"") + chunk[rest_at:end]
        topic = chunk[body:topic_end]
        yield b"\x30" + encode_length(len(topic) + len(rest)) + topic + rest
        at = end


def split_chunk(chunk: bytes) -> Iterator[bytes]:
    """Yield each of several consecutive packets."""
    at, size = 0, len(chunk)
    while at < size:
        length, body = chunk[at + 1], at + 2
        if length >= 0x80:
            length, body = measure_length(chunk, length, body)
        yield chunk[at : body + length]
        at = body + length
