"""Encodes packets within the Maximum Packet Size of their client."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from broker.wire import encode_packet

if TYPE_CHECKING:
    from broker.sessions.outbound import Outbound
    from broker.wire.packets import Packet


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
