"""SUBSCRIBE and UNSUBSCRIBE: what ends, what stays, what comes again."""

import pytest

from broker.wire.packets import (
    MQTT_5,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
)
from broker.wire.property_values import Properties
from tests.unit.broker.rig import VERSIONS, Peer, Rig

KEPT = Properties(session_expiry_s=100)


def publishes(peer: Peer) -> list[Publish]:
    return [each for each in peer.take() if isinstance(each, Publish)]


# [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-2.2.1-6] [MQTT-3.10.4-4] [MQTT-3.10.4-5]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("packet_id", [1, 300, 65_535])
def test_answers_have_the_packet_id_of_the_question(packet_id: int, version: int) -> None:
    client = Rig().online("c", version)
    codes = (0x11,) if version == MQTT_5 else ()
    for _ in range(2):
        client.send(Subscribe(packet_id, (Subscription("a", 2),)))
        assert client.take() == [SubAck(packet_id, (2,))]
        client.send(Unsubscribe(packet_id, ("nothing",)))
        assert client.take() == [UnsubAck(packet_id, codes)]


# [MQTT-3.8.4-3] [MQTT-3.8.4-4]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("topic_filter", ["a", "+", "#"])
def test_a_repeated_subscription_brings_what_is_retained_and_loses_nothing(
    topic_filter: str, version: int
) -> None:
    rig = Rig()
    rig.online("r").publish("a", b"retained", retain=True)
    narrow = Properties(receive_maximum=1) if version == MQTT_5 else Properties()
    client, sender = rig.online("c", version, properties=narrow), rig.online("s")
    assert len(client.subscribe(topic_filter, 1)) == 1
    for number in range(3):
        sender.publish("a", b"%d" % number, qos=1)
    seen = [(each.payload, each.retain) for each in _acknowledged(client)]
    for number in range(3, 6):
        sender.publish("a", b"%d" % number, qos=1)
    client.send(Subscribe(5, (Subscription(topic_filter, 1),)))
    for number in range(6, 9):
        sender.publish("a", b"%d" % number, qos=1)
    seen += [(each.payload, each.retain) for each in _acknowledged(client)]
    assert sorted(each for each in seen if not each[1]) == [(b"%d" % n, False) for n in range(9)]
    assert [each for each in seen if each[1]] == [(b"retained", True)]
    sender.publish("a", b"once")
    assert client.messages() == [("a", b"once")]


def _acknowledged(client: Peer) -> list[Publish]:
    """Return all that comes to a client that acknowledges."""
    seen = []
    while arrived := publishes(client):
        seen += arrived
        client.send(*(PubAck(each.packet_id) for each in arrived if each.packet_id is not None))
    return seen


# [MQTT-3.10.4-1] [MQTT-3.10.4-2]
@pytest.mark.parametrize("version", VERSIONS)
def test_only_the_very_same_filter_ends(version: int) -> None:
    rig = Rig()
    client, sender = rig.online("c", version), rig.online("s")
    for topic_filter in ("a/b", "a/+", "A/b"):
        client.subscribe(topic_filter)
    wrong = ("a/#", "#", "+/b", "a/B", "a/b/", "/a/b", "$share/g/a/b")
    client.send(Unsubscribe(2, wrong))
    codes = (0x11,) * len(wrong) if version == MQTT_5 else ()
    assert client.take() == [UnsubAck(2, codes)]
    assert rig.core.counters.subscriptions == 3
    client.send(Unsubscribe(3, ("a/b",)))
    client.take()
    for topic in ("a/b", "a/c", "A/b"):
        sender.publish(topic, b"x")
    assert client.messages() == [(topic, b"x") for topic in ("a/b", "a/c", "A/b")]
    client.send(Unsubscribe(4, ("a/+",)))
    client.take()
    for topic in ("a/b", "a/c", "A/b"):
        sender.publish(topic, b"x")
    assert client.messages() == [("A/b", b"x")]


# [MQTT-3.10.4-3]
@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_begun_is_completed_after_unsubscribing(version: int) -> None:
    rig = Rig()
    client = rig.online("c", version, clean_start=False, properties=KEPT)
    client.subscribe("a", 2)
    sender = rig.online("s")
    for qos in (1, 2, 2):
        sender.publish("a", b"%d" % qos, qos=qos, packet_id=qos)
        sender.send(PubRel(qos))
    single, double, other = (each.packet_id or 0 for each in publishes(client))
    client.send(PubRec(double))
    assert client.take() == [PubRel(double)]
    client.send(Unsubscribe(2, ("a",)))
    client.take()
    client.send(PubComp(double), PubRec(other))
    assert client.take() == [PubRel(other)]
    client.hang_up()
    again = rig.online("c", version, clean_start=False, properties=KEPT).take()
    assert isinstance(again[0], Publish)
    assert (again[0].packet_id, again[0].duplicate) == (single, True)
    assert again[1:] == [PubRel(other)]


# [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.9.3-1] [MQTT-3.10.4-6] [MQTT-3.11.3-1]
@pytest.mark.parametrize("version", VERSIONS)
def test_one_packet_with_several_filters_does_what_several_packets_do(version: int) -> None:
    rig = Rig()
    rig.online("r").publish("b", b"kept", retain=True)
    client, sender = rig.online("c", version), rig.online("s")
    asked = [Subscription(name, qos) for name, qos in (("a", 0), ("b", 2), ("a", 1))]
    client.send(Subscribe(1, tuple(asked)))
    answer, *rest = client.take()
    assert answer == SubAck(1, (0, 2, 1))
    assert [each.topic for each in rest if isinstance(each, Publish)] == ["b"]
    sender.publish("a", qos=2)
    assert [each.qos for each in publishes(client)] == [1]
    client.send(Unsubscribe(2, ("a", "a", "b")))
    codes = (0, 0x11, 0) if version == MQTT_5 else ()
    assert client.take() == [UnsubAck(2, codes)]
    assert rig.core.counters.subscriptions == 0


# [MQTT-3.8.4-8] [MQTT-4.8.2-3]
@pytest.mark.parametrize("topic_filter", ["a", "+", "$share/g/a"])
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_the_lower_qos_counts_on_every_path(
    granted: int, published: int, hot_path: bool, topic_filter: str
) -> None:
    rig = Rig(hot_path=hot_path)
    client, sender = rig.online("c", MQTT_5), rig.online("s", MQTT_5)
    client.subscribe(topic_filter, granted)
    for content_type in (None, "text"):
        properties = Properties(content_type=content_type)
        sender.publish(
            "a", qos=published, packet_id=1 if published else None, properties=properties
        )
        sender.send(PubRel(1))
    assert [each.qos for each in publishes(client)] == [min(granted, published)] * 2
