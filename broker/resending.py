"""Packets in flight, in the form in which the next connection is sent them again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.delivery import left_of
from broker.inflight import PUBREL
from broker.packets import MQTT_5, Publish
from broker.properties import NO_PROPERTIES
from broker.wire import decode_packet, encode_packet

if TYPE_CHECKING:
    from collections.abc import Mapping


def transcode(packet: bytes, old: int, new: int) -> bytes:
    """Return a PUBLISH for a client that has come back with another protocol version."""
    return encode_packet(replace(_decode(packet, old), properties=NO_PROPERTIES), new)


def shorten_life(packet: bytes, deadlines: Mapping[bytes, float], now: float) -> bytes:
    """Return a packet of MQTT 5 with what is left of its message's life.

    deadlines may have some of messages that had a packet id before.
    """
    if packet.startswith(PUBREL):
        return packet
    publish = _decode(packet, MQTT_5)
    before_s, packet_id = publish.properties.message_expiry_s, publish.packet_id or 0
    deadline = deadlines.get(packet_id.to_bytes(2, "big"))
    if before_s is None or deadline is None:
        return packet
    left_s = min(left_of(deadline, now), before_s)  # [MQTT-3.3.2-6]
    properties = replace(publish.properties, message_expiry_s=left_s)
    return encode_packet(replace(publish, properties=properties), MQTT_5)


def _decode(packet: bytes, version: int) -> Publish:
    decoded = decode_packet(packet, version)
    assert decoded is not None  # made by us
    publish = decoded[0]
    assert isinstance(publish, Publish)
    return publish
