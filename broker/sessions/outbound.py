"""Holds the output of one connection, which sessions, groups and routes append to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from broker.wire import encode_packet
from broker.wire.packets import MQTT_3_1_1, MQTT_5

if TYPE_CHECKING:
    from broker.wire.packets import Packet

UNLIMITED_BYTES = 1 << 62


class Outbound:
    """The output of one connection and the limits of its peer; Client adds the rest."""

    __slots__ = ("five", "max_packet_bytes", "out", "paused", "version")

    def __init__(self) -> None:
        self.version = MQTT_3_1_1
        self.five = False
        self.max_packet_bytes = UNLIMITED_BYTES  # the Maximum Packet Size of the peer
        self.out: list[bytes] = []  # emptied, never replaced: routes hold its append
        self.paused = False  # the peer reads more slowly than it is sent

    def set_version(self, version: int) -> None:
        """Set the protocol version."""
        self.version = version
        self.five = version == MQTT_5


def encode_fitting(packet: Packet, client: Outbound) -> bytes | None:
    """Encode a packet, if necessary without optional text; None when it still does not fit."""
    encoded = encode_packet(packet, client.version)
    if len(encoded) <= client.max_packet_bytes:
        return encoded
    if not client.five or not hasattr(packet, "properties"):
        return None
    # [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3]
    # [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2]
    # [MQTT-3.11.2-1] [MQTT-3.11.2-2] [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.15.2-2]
    # [MQTT-3.15.2-3]
    encoded = encode_packet(_without_text(packet), client.version)
    return encoded if len(encoded) <= client.max_packet_bytes else None


def _without_text(packet: Any) -> Packet:
    properties = replace(packet.properties, reason_string=None, user_properties=())
    shorter: Packet = replace(packet, properties=properties)
    return shorter
