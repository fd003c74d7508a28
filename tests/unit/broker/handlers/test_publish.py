import pytest

from broker.messages.message import Message
from broker.quota.limits import Limits
from broker.wire.packets import MQTT_3_1_1, MQTT_5, Disconnect, PubAck, Publish
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Rig


# [MQTT-3.3.4-1] [MQTT-3.8.4-8] [MQTT-4.3.1-1] [MQTT-4.3.2-2]
@pytest.mark.parametrize("sender_version", VERSIONS)
@pytest.mark.parametrize("receiver_version", VERSIONS)
@pytest.mark.parametrize("published", [0, 1])
@pytest.mark.parametrize("granted", [0, 1])
def test_delivers_at_the_lower_qos(
    sender_version: int, receiver_version: int, published: int, granted: int
) -> None:
    rig = Rig()
    receiver, sender = rig.online("r", receiver_version), rig.online("s", sender_version)
    receiver.subscribe("a/+", granted)
    sender.publish("a/b", b"payload", qos=published)
    (packet,) = receiver.take()
    assert isinstance(packet, Publish)
    assert (packet.topic, packet.payload, packet.qos) == (
        "a/b",
        b"payload",
        min(published, granted),
    )
    assert not packet.duplicate
    assert not packet.retain
    assert sender.take() == ([PubAck(1)] if published else [])


def test_topics_with_the_same_receivers_keep_their_own_qos() -> None:
    rig = Rig()
    receiver, sender = rig.online("r"), rig.online("s")
    receiver.subscribe("low", 0)
    receiver.subscribe("high", 1)
    topics = ("low", "high", "low", "high")
    sender.send(*(Publish(each, b"x", 1, packet_id=1) for each in topics))
    got = [(each.topic, each.qos) for each in receiver.take() if isinstance(each, Publish)]
    assert got == [("low", 0), ("high", 1), ("low", 0), ("high", 1)]


# [MQTT-3.8.3-3]
def test_a_client_receives_what_it_publishes_unless_it_asked_not_to() -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5)
    client.subscribe("a")
    client.publish("a", b"1")
    assert client.messages() == [("a", b"1")]
    client.subscribe("a", no_local=True)
    client.publish("a", b"2")
    assert client.messages() == []
    other = rig.online("o")
    other.publish("a", b"3")
    assert client.messages() == [("a", b"3")]


# [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]
def test_overlapping_subscriptions_give_one_copy_at_the_highest_qos_with_all_identifiers() -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5)
    client.subscribe("a/b", 0, identifiers=(1,))
    client.subscribe("a/#", 1, identifiers=(2,))
    rig.online("s").publish("a/b", qos=1)
    (packet,) = client.take()
    assert isinstance(packet, Publish)
    assert packet.qos == 1
    assert sorted(packet.properties.subscription_identifiers) == [1, 2]


# [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
def test_properties_travel_to_mqtt_5_and_are_left_out_for_3_1_1() -> None:
    rig = Rig()
    five, four = rig.online("five", MQTT_5), rig.online("four")
    five.subscribe("a")
    four.subscribe("a")
    properties = Properties(
        payload_format=True,
        message_expiry_s=60,
        content_type="text/plain",
        response_topic="reply",
        correlation_data=b"\x01",
        user_properties=(("k", "1"), ("k", "2")),
    )
    rig.online("s", MQTT_5).publish("a", b"x", properties=properties)
    (packet,) = five.take()
    assert isinstance(packet, Publish)
    assert packet.properties == properties
    assert four.messages() == [("a", b"x")]


# [MQTT-3.4.2-1]
# [MQTT-3.3.5-2] of 3.1.1
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
def test_a_forbidden_topic_goes_nowhere_and_is_counted(version: int, qos: int) -> None:
    rig = Rig()
    rig.rules.no_publish.add("secret")
    receiver, sender = rig.online("r"), rig.online("s", version)
    receiver.subscribe("#")
    sender.publish("secret", qos=qos)
    assert receiver.take() == []
    assert not sender.closed
    if qos:
        reason = Reason.NOT_AUTHORIZED if version == MQTT_5 else Reason.SUCCESS
        assert sender.take() == [PubAck(1, reason)]
    assert rig.core.counters.dropped["publish_not_authorized"] == 1


def test_rights_are_asked_once_for_a_topic_until_they_change() -> None:
    rig = Rig()
    sender = rig.online("s")
    for _ in range(5):
        sender.publish("a")
    assert rig.rules.asked == 1
    rig.core.admin.rights_changed()
    sender.publish("a")
    assert rig.rules.asked == 2


# [MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.13.1-1]
@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("", Reason.PROTOCOL_ERROR),
        ("a/+", Reason.PROTOCOL_ERROR),
        ("#", Reason.PROTOCOL_ERROR),
        ("a\nb", Reason.MALFORMED_PACKET),
        ("a/b/c/d", Reason.TOPIC_NAME_INVALID),
    ],
)
def test_a_bad_topic_closes(topic: str, reason: Reason) -> None:
    rig = Rig(Limits(topic_levels=3))
    client = rig.online("c", MQTT_5)
    client.publish(topic)
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == reason
    assert client.closed


# [MQTT-3.3.2-14] [MQTT-3.3.4-6]
@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (Properties(subscription_identifiers=(1,)), Reason.PROTOCOL_ERROR),
        (Properties(response_topic="a/#"), Reason.PROTOCOL_ERROR),
        (Properties(response_topic=""), Reason.PROTOCOL_ERROR),
    ],
)
def test_a_property_that_a_client_must_not_send_closes(
    properties: Properties, reason: Reason
) -> None:
    client = Rig().online("c", MQTT_5)
    client.publish("a", properties=properties)
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == reason


# [MQTT-3.4.2-1]
def test_tells_an_mqtt_5_sender_that_nobody_listens() -> None:
    rig = Rig()
    five, four = rig.online("five", MQTT_5), rig.online("four")
    five.publish("a", qos=1)
    four.publish("a", qos=1)
    assert five.take() == [PubAck(1, Reason.NO_MATCHING_SUBSCRIBERS)]
    assert four.take() == [PubAck(1)]


# [MQTT-3.3.2-5] [MQTT-3.3.2-6]
def test_a_message_expires_while_it_waits() -> None:
    rig = Rig()
    away = rig.online("away", MQTT_5, properties=Properties(session_expiry_s=1000))
    away.subscribe("a", 1)
    away.hang_up()
    sender = rig.online("s", MQTT_5)
    sender.publish("a", b"short", qos=1, properties=Properties(message_expiry_s=10))
    sender.publish("a", b"long", qos=1, properties=Properties(message_expiry_s=100))
    rig.pass_time(50)
    back = rig.online("away", MQTT_5, clean_start=False, properties=Properties(session_expiry_s=9))
    (packet,) = back.take()
    assert isinstance(packet, Publish)
    assert packet.payload == b"long"
    assert packet.properties.message_expiry_s == 50
    assert rig.core.counters.dropped["expired"] == 1


# [MQTT-3.1.2-24] [MQTT-3.1.2-25]
def test_a_packet_larger_than_the_client_takes_is_not_sent() -> None:
    rig = Rig()
    small = rig.online("small", MQTT_5, properties=Properties(maximum_packet_bytes=60))
    small.subscribe("a", 1)
    sender = rig.online("s")
    for qos in (0, 1):
        sender.publish("a", b"x" * 100, qos=qos)
        sender.publish("a", b"y", qos=qos)
    assert small.messages() == [("a", b"y"), ("a", b"y")]
    assert rig.core.counters.dropped["packet_too_large"] == 2


def test_local_publish_reaches_remote_clients() -> None:
    rig = Rig()
    client = rig.online("c", MQTT_3_1_1)
    client.subscribe("a", 1)
    rig.core.publish(Message("a", b"x", qos=1), rig.now)
    rig.settle()
    assert client.messages() == [("a", b"x")]
