import pytest

from broker.quota.limits import Limits
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Disconnect,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Peer, Rig


def granted(peer: Peer, *filters: str, qos: int = 0) -> tuple[int, ...]:
    peer.send(Subscribe(7, tuple(Subscription(each, qos) for each in filters)))
    answer = peer.take()[0]
    assert isinstance(answer, SubAck)
    assert answer.packet_id == 7
    return answer.codes


# [MQTT-3.8.4-2] [MQTT-3.8.4-7]
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_grants_the_qos_asked_for(qos: int) -> None:
    assert granted(Rig().online("c"), "a", qos=qos) == (qos,)


# [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2]
# [MQTT-3.9.3-2] of 3.1.1
@pytest.mark.parametrize("version", VERSIONS)
def test_each_filter_has_its_own_answer(version: int) -> None:
    rig = Rig(Limits(subscriptions=2, topic_levels=3))
    rig.rules.no_subscribe.add("secret")
    client = rig.online("c", version)
    codes = granted(client, "a", "secret", "$share/g/secret", "1/2/3/4", "b", "a", "c")
    if version == MQTT_5:
        assert codes == (0, 0x87, 0x87, 0x8F, 0, 0, 0x97)
    else:
        assert codes == (0, 0x80, 0x80, 0x80, 0, 0, 0x80)
    assert rig.core.counters.subscriptions == 2


# [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1]
@pytest.mark.parametrize("topic_filter", ["", "a#", "#/a", "a/+b"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_filter_that_is_none_closes(topic_filter: str, version: int) -> None:
    client = Rig().online("c", version)
    client.send(Subscribe(1, (Subscription(topic_filter),)))
    assert client.closed


# [MQTT-3.8.4-3]
def test_subscribing_again_replaces_the_qos() -> None:
    rig = Rig()
    client, sender = rig.online("c"), rig.online("s")
    client.subscribe("a", 1)
    client.subscribe("a", 0)
    sender.publish("a", qos=1)
    (packet,) = client.take()
    assert isinstance(packet, Publish)
    assert packet.qos == 0
    assert rig.core.counters.subscriptions == 1


# [MQTT-2.2.1-6] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1]
# [MQTT-3.11.3-2]
@pytest.mark.parametrize("version", VERSIONS)
def test_unsubscribe_stops_and_says_whether_there_was_something(version: int) -> None:
    rig = Rig()
    client, sender = rig.online("c", version), rig.online("s")
    client.subscribe("a/+")
    sender.publish("a/b")
    client.take()
    client.send(Unsubscribe(9, ("a/+", "never")))
    codes = (0, 0x11) if version == MQTT_5 else ()
    assert client.take() == [UnsubAck(9, codes)]
    sender.publish("a/b")
    assert client.take() == []
    assert rig.core.counters.subscriptions == 0


def test_a_publish_after_a_subscribe_in_one_read_finds_the_new_subscriber() -> None:
    rig = Rig()
    client = rig.online("c")
    publish = Publish("a", b"x")
    client.send(
        publish, Subscribe(1, (Subscription("a"),)), publish, Unsubscribe(2, ("a",)), publish
    )
    assert [type(each) for each in client.take()] == [SubAck, Publish, UnsubAck]


# [MQTT-3.12.4-1]
def test_ping() -> None:
    client = Rig().online("c")
    client.send(PingReq())
    assert client.take() == [PingResp()]


# [MQTT-3.3.1-9] [MQTT-3.3.1-12] [MQTT-4.7.2-1]
# [MQTT-3.3.1-8] of 3.1.1
def test_retained_messages_come_on_subscribe_with_the_flag() -> None:
    rig = Rig()
    sender, early = rig.online("s"), rig.online("early")
    early.subscribe("#", 1)
    for topic, qos in (("a/b", 1), ("a/c", 0), ("$x/y", 0)):
        sender.publish(topic, topic.encode(), qos=qos, retain=True)
    assert not any(each.retain for each in early.take() if isinstance(each, Publish))
    late = rig.online("late")
    found = [each for each in late.subscribe("#", 1) if isinstance(each, Publish)]
    assert sorted((each.topic, each.qos, each.retain) for each in found) == [
        ("a/b", 1, True),
        ("a/c", 0, True),
    ]
    assert [each.topic for each in late.subscribe("$x/+") if isinstance(each, Publish)] == ["$x/y"]
    assert rig.core.counters.retained == 3


# [MQTT-3.3.1-6] [MQTT-3.3.1-7]
def test_an_empty_retained_message_removes_and_is_delivered() -> None:
    rig = Rig()
    sender, client = rig.online("s"), rig.online("c")
    client.subscribe("a")
    sender.publish("a", b"1", retain=True)
    sender.publish("a", b"", retain=True)
    assert client.messages() == [("a", b"1"), ("a", b"")]
    assert rig.online("late").subscribe("a") == []
    assert rig.core.counters.retained == 0


# [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.3.1-13]
def test_retain_handling_and_retain_as_published() -> None:
    rig = Rig()
    sender, client = rig.online("s"), rig.online("c", MQTT_5)
    sender.publish("a", b"kept", retain=True)
    assert client.subscribe("a", retain_handling=2) == []
    assert client.subscribe("a", retain_handling=1) == []
    assert len(client.subscribe("a", retain_handling=0)) == 1
    client.send(Unsubscribe(2, ("a",)))
    client.take()
    assert len(client.subscribe("a", retain_handling=1, retain_as_published=True)) == 1
    sender.publish("a", b"new", retain=True)
    (packet,) = client.take()
    assert isinstance(packet, Publish)
    assert packet.retain


def test_retained_limits_are_kept_and_counted() -> None:
    rig = Rig(Limits(retained_messages=1))
    five, four = rig.online("5", MQTT_5), rig.online("4")
    five.publish("a", retain=True)
    five.publish("b", retain=True, qos=1)
    assert five.take() == [PubAck(1, Reason.QUOTA_EXCEEDED)]
    four.publish("b", retain=True, qos=1)
    assert four.closed
    assert four.take() == []
    assert rig.core.counters.dropped["retained_full"] == 2


def test_a_retained_message_expires() -> None:
    rig = Rig()
    rig.online("s", MQTT_5).publish("a", retain=True, properties=Properties(message_expiry_s=5))
    assert len(rig.online("1").subscribe("a")) == 1
    rig.pass_time(5)
    assert rig.online("2").subscribe("a") == []


def test_many_retained_messages_arrive_whole_within_the_window() -> None:
    rig = Rig(Limits(in_flight=10, queued_messages=10))
    sender = rig.online("s")
    for number in range(100):
        sender.publish(f"a/{number}", b"x" * 5000, qos=1, retain=True)
    client = rig.online("c")
    seen = []
    arrived = client.subscribe("#", 1)
    while arrived:
        for packet in arrived:
            assert isinstance(packet, Publish)
            seen.append(packet.topic)
        for packet in arrived:
            assert isinstance(packet, Publish)
            assert packet.packet_id is not None
            client.send(PubAck(packet.packet_id))
        arrived = client.take()
    assert len(seen) == len(set(seen)) == 100
    assert rig.core.counters.messages_dropped == 0


def test_two_identifiers_in_one_subscribe_close() -> None:
    client = Rig().online("c", MQTT_5)
    properties = Properties(subscription_identifiers=(1, 2))
    client.send(Subscribe(1, (Subscription("a"),), properties))
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.PROTOCOL_ERROR


def test_a_filter_still_matches_while_another_client_leaves() -> None:
    rig = Rig()
    one, two, sender = rig.online("1"), rig.online("2"), rig.online("s", MQTT_3_1_1)
    one.subscribe("a")
    two.subscribe("a")
    sender.publish("a", b"1")
    one.hang_up()
    sender.publish("a", b"2")
    assert two.messages() == [("a", b"1"), ("a", b"2")]
