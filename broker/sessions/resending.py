"""Converts packets in flight to the form in which the next connection is sent them again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.messages.delivery import remaining_life
from broker.sessions.inflight import PUBREL
from broker.wire import decode_packet, encode_packet
from broker.wire.packets import MQTT_5, Publish
from broker.wire.property_values import NO_PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.sessions.outbound import Outbound


def convert_packets(
    packets: Mapping[bytes, bytes], version: int, client: Outbound
) -> dict[bytes, bytes]:
    """Return packets in flight, by packet id, for a new connection; leave out too large ones."""
    changes = client.version != version and MQTT_5 in {client.version, version}
    kept: dict[bytes, bytes] = {}
    for packet_id, packet in packets.items():
        if packet.startswith(PUBREL):  # the same in all versions
            kept[packet_id] = packet
            continue
        converted = transcode(packet, version, client.version) if changes else packet
        if len(converted) <= client.max_packet_bytes:  # [MQTT-3.1.2-24]
            kept[packet_id] = converted
    return kept


def shorten_lives(
    append: Callable[[bytes], None], deadlines: Mapping[bytes, float], now: float
) -> Callable[[bytes], None]:
    """Return a function that appends packets with what is left of their lives."""
    return lambda packet: append(shorten_life(packet, deadlines, now))


def transcode(packet: bytes, old: int, new: int) -> bytes:
    """Return a PUBLISH in another protocol version."""
    return encode_packet(replace(_decode(packet, old), properties=NO_PROPERTIES), new)


def shorten_life(packet: bytes, deadlines: Mapping[bytes, float], now: float) -> bytes:
    """Return a packet of MQTT 5 with what is left of its message's life.

    deadlines may have entries of messages that had the packet id before.
    """
    if packet.startswith(PUBREL):
        return packet
    publish = _decode(packet, MQTT_5)
    before_s, packet_id = publish.properties.message_expiry_s, publish.packet_id or 0
    deadline = deadlines.get(packet_id.to_bytes(2, "big"))
    if before_s is None or deadline is None:
        return packet
    left_s = min(remaining_life(deadline, now), before_s)  # [MQTT-3.3.2-6]
    properties = replace(publish.properties, message_expiry_s=left_s)
    return encode_packet(replace(publish, properties=properties), MQTT_5)


def _decode(packet: bytes, version: int) -> Publish:
    decoded = decode_packet(packet, version)
    assert decoded is not None  # the broker has encoded it
    publish = decoded[0]
    assert isinstance(publish, Publish)
    return publish
