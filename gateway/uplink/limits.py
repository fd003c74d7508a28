"""Checks messages and filters against the limits that the cloud's broker announces. Pure."""

from gateway.uplink.rules import capture
from protocol.mqtt_limits import MqttLimits
from protocol.topics import uplinked

HEADER_BYTES = 10  # of a PUBLISH at QoS 1: type, remaining length, two lengths, no properties
TOPIC_BYTES = 65_535  # of any topic [MQTT-1.5.4]


def find_fault(limits: MqttLimits, node_id: str, topic: str, payload_bytes: int) -> str:
    """Return the reason why the cloud would refuse a message of this node; "" if it would not."""
    if not topic:  # a rename may leave nothing
        return "an empty topic"
    whole = uplinked(node_id, topic)
    levels, size = whole.count("/") + 1, len(whole.encode())
    if levels > limits.topic_levels:
        return f"{levels} topic levels, the cloud takes {limits.topic_levels}"
    longest = min(limits.topic_bytes, TOPIC_BYTES)
    if size > longest:
        return f"a topic of {size} bytes, the cloud takes {longest}"
    if HEADER_BYTES + size + payload_bytes > limits.packet_bytes:
        packet_bytes = HEADER_BYTES + size + payload_bytes
        return f"a packet of {packet_bytes} bytes, the cloud takes {limits.packet_bytes}"
    for denied in limits.denied:
        if capture(denied, topic) is not None:
            return f"the cloud denies {denied} to nodes"
    return ""


def find_filter_fault(limits: MqttLimits, topic_filter: str) -> str:
    """Return the reason why the cloud would refuse a whole filter; "" if it would not."""
    levels, size = topic_filter.count("/") + 1, len(topic_filter.encode())
    if levels > limits.topic_levels:
        return f"{levels} topic levels, the cloud takes {limits.topic_levels}"
    if size > limits.topic_bytes:
        return f"a filter of {size} bytes, the cloud takes {limits.topic_bytes}"
    return ""
