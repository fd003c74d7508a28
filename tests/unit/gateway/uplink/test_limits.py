import pytest

from gateway.uplink.limits import find_fault, find_filter_fault
from protocol.mqtt_limits import MqttLimits, read_mqtt_limits

NODE = "n" * 56  # with "nodes/" and "/" 63 bytes and two levels


# case G1, G18
@pytest.mark.parametrize(
    ("topic", "size", "fault"),
    [
        ("/".join("a" * 30), 0, ""),
        ("/".join("a" * 31), 0, "33 topic levels, the cloud takes 32"),
        ("x" * 4033, 0, ""),
        ("x" * 4034, 0, "a topic of 4097 bytes, the cloud takes 4096"),
        ("é" * 2017, 0, "a topic of 4097 bytes, the cloud takes 4096"),
        ("t", 1_999_926, ""),
        ("t", 1_999_927, "a packet of 2000001 bytes, the cloud takes 2000000"),
        ("", 0, "an empty topic"),
        ("down", 0, "the cloud denies down/# to nodes"),
        ("down/a", 0, "the cloud denies down/# to nodes"),
        ("downstairs/a", 0, ""),
    ],
)
def test_what_the_cloud_takes(topic: str, size: int, fault: str) -> None:
    assert find_fault(MqttLimits(), NODE, topic, size) == fault


def test_filters() -> None:
    assert not find_filter_fault(MqttLimits(), "/".join("a" * 32))
    assert "33 topic levels" in find_filter_fault(MqttLimits(), "/".join("a" * 33))
    assert "4097 bytes" in find_filter_fault(MqttLimits(), "x" * 4097)


def test_limits_are_read_as_they_are_written() -> None:
    limits = MqttLimits(3, 4, 5, ("a/#",))
    assert read_mqtt_limits(limits.fields()) == limits


@pytest.mark.parametrize("value", [0, -1, True, "7", None, 1.5])
def test_what_is_malformed_has_its_default(value: object) -> None:
    fields = dict.fromkeys(("topic_levels", "topic_bytes", "packet_bytes", "denied"), value)
    assert read_mqtt_limits(fields) == MqttLimits()
    assert read_mqtt_limits({}) == MqttLimits()
    assert read_mqtt_limits({"denied": [1]}).denied == MqttLimits().denied
