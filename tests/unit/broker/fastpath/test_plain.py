"""Runs of plain publishes: what the hot path must not mistake for one more of them."""

import pytest

from broker.wire import encode_packet
from broker.wire.packets import MQTT_3_1_1, MQTT_5, Publish
from broker.wire.property_values import Properties
from tests.unit.broker.rig import VERSIONS, Rig


def messages(version: int, *streams: bytes, hot_path: bool) -> list[tuple[str, bytes]]:
    """Return what a listener gets of the streams, each one read."""
    rig = Rig(hot_path=hot_path)
    listener, client = rig.online("l"), rig.online("c", version)
    for topic_filter in ("a", "a/b"):
        listener.subscribe(topic_filter, 1)
    for each in streams:
        if not client.closed:
            client.send_bytes(each)
    return [*listener.messages(), ("closed", b"%d" % client.closed)]


def both(version: int, *streams: bytes) -> list[tuple[str, bytes]]:
    hot = messages(version, *streams, hot_path=True)
    assert hot == messages(version, *streams, hot_path=False)
    return hot


def plain(version: int, qos: int, payload: bytes = b"xyz", topic: str = "a") -> bytes:
    return encode_packet(Publish(topic, payload, qos, packet_id=1 if qos else None), version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
def test_a_run_cut_anywhere(version: int, qos: int) -> None:
    run = plain(version, qos) * 5 + plain(version, qos, b"y" * 200) * 3
    for at in range(1, len(run)):
        got = both(version, run[:at], run[at:])
        assert got[:-1] == [("a", b"xyz")] * 5 + [("a", b"y" * 200)] * 3


@pytest.mark.parametrize("qos", [0, 1])
def test_properties_in_a_packet_as_long_as_those_before(qos: int) -> None:
    before = plain(MQTT_5, qos, b"123456789")
    packet_id = 2 if qos else None
    typed = Publish(
        "a", b"12345", qos, packet_id=packet_id, properties=Properties(content_type="t")
    )
    other = encode_packet(typed, MQTT_5)
    assert len(other) == len(before)
    got = both(MQTT_5, before * 3 + other + before)
    assert got[:-1] == [("a", b"123456789")] * 3 + [("a", b"12345")] + [("a", b"123456789")]


@pytest.mark.parametrize("qos", [0, 1])
def test_topics_sizes_and_qualities_that_change_with_every_packet(qos: int) -> None:
    packets = [
        plain(MQTT_3_1_1, (number // 7) % 2 or qos, b"x" * size, topic)
        for number, (topic, size) in enumerate(
            (topic, size)
            for size in (0, 1, 100, 130, 16_380, 16_500)
            for topic in ("a", "a/b", "a", "nobody")
        )
    ]
    assert len(both(MQTT_3_1_1, b"".join(packets))) == 19


@pytest.mark.parametrize(
    "stream",
    [
        "30ff00 000161" + "78" * 124,  # a length not in its shortest form
        "32ff00 000161 0001" + "78" * 122,
        "30808080",  # a length that is not whole
        "3000 3001 00",
        "3002 0000",
        "3003 000261 62",  # a topic that reaches into the next packet
        "3204 000161 00 01",  # a packet id that does
        "3205 000161 0000",
        "3205 000161 0001",
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_no_plain_publish_behind_some_that_are(stream: str, version: int) -> None:
    for qos in (0, 1):
        got = both(version, plain(version, qos) * 3 + bytes.fromhex(stream))
        assert got[:3] == [("a", b"xyz")] * 3


def test_what_a_run_sent_to_changing_receivers_is_counted() -> None:
    rig = Rig()
    one, two, sender = rig.online("1"), rig.online("2"), rig.online("s")
    one.subscribe("a")
    two.subscribe("a/b")
    one.subscribe("a/b")
    sender.send(*(Publish(topic, b"x") for topic in ("a", "a/b", "a", "a", "a", "a/b", "nobody")))
    counters = rig.core.counters
    assert (counters.messages_received, counters.messages_sent) == (7, 8)
    assert len(one.messages()) == 6
    assert len(two.messages()) == 2
