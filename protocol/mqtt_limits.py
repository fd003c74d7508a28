"""Describes the limits of the cloud's broker, as the cloud announces them to nodes.

MQTT has a property for the size of a packet and none for the depth or length of a topic, nor for
topics that a client may not write to. A broker answers those by closing the connection, or, under
MQTT 3.1.1, by an acknowledgement without a reason. A node therefore reads a document first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class MqttLimits:
    """Limits on the publishes of a node; the defaults hold for a cloud that announces none."""

    topic_levels: int = 32
    topic_bytes: int = 4096
    packet_bytes: int = 2_000_000
    denied: tuple[str, ...] = ("down/#",)  # filters of topics below nodes/<node id>/

    def fields(self) -> dict[str, Any]:
        """Return the limits as a JSON object."""
        return {
            "topic_levels": self.topic_levels,
            "topic_bytes": self.topic_bytes,
            "packet_bytes": self.packet_bytes,
            "denied": list(self.denied),
        }


def read_mqtt_limits(fields: Mapping[str, Any]) -> MqttLimits:
    """Return the limits in a JSON object; absent or malformed fields have their default."""
    default = MqttLimits()
    denied = fields.get("denied")
    if not isinstance(denied, list) or not all(isinstance(each, str) for each in denied):
        denied = list(default.denied)
    return MqttLimits(
        _positive(fields.get("topic_levels"), default.topic_levels),
        _positive(fields.get("topic_bytes"), default.topic_bytes),
        _positive(fields.get("packet_bytes"), default.packet_bytes),
        tuple(denied),
    )


def _positive(value: Any, default: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    return default
