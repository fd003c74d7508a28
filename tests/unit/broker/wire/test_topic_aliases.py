import pytest

from broker.local_client import LocalClient
from broker.messages.message import Message
from broker.quota.limits import Limits
from broker.wire import encode_packet
from broker.wire.packets import MQTT_3_1_1, MQTT_5, ConnAck, Disconnect, PubAck, Publish, PubRec
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason
from broker.wire.topic_aliases import OutgoingAliases
from tests.unit.broker.rig import VERSIONS, Peer, Rig

TOPIC = "a/long/topic"


def aliased(alias: int, topic: str = "", qos: int = 0, payload: bytes = b"x") -> Publish:
    packet_id = len(topic or str(alias)) if qos else None
    properties = Properties(topic_alias=alias)
    return Publish(topic, payload, qos, packet_id=packet_id, properties=properties)


def reason_of(peer: Peer) -> Reason:
    packet = peer.take()[-1]
    assert isinstance(packet, Disconnect)
    return packet.reason


# -- from a client -----------------------------------------------------------------------------


# [MQTT-3.3.2-12]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_alias_stands_for_its_topic_until_it_is_given_another(version: int, qos: int) -> None:
    rig = Rig()
    client, listener = rig.online("c", MQTT_5), rig.online("l", version)
    listener.subscribe("#", 2)
    client.send(aliased(1, "one"), aliased(32, "two"), aliased(1, qos=qos), aliased(32, qos=qos))
    client.send(aliased(1, "three", payload=b""), aliased(1, payload=b"y" * 200))
    got = [each for each in listener.take() if isinstance(each, Publish)]
    assert [(each.topic, each.qos) for each in got[2:4]] == [("one", qos), ("two", qos)]
    assert [each.topic for each in got[4:]] == ["three", "three"]
    assert all(each.properties == NO_PROPERTIES for each in got)
    kind = {1: PubAck, 2: PubRec}.get(qos)
    assert client.take() == ([kind(1), kind(2)] if kind else [])


def test_a_client_is_told_how_many_aliases_it_may_use() -> None:
    for maximum in (0, 5):
        (answer,) = Rig(Limits(topic_aliases=maximum)).connect("c", MQTT_5).take()
        assert isinstance(answer, ConnAck)
        assert answer.properties.topic_alias_maximum == (maximum or None)


# [MQTT-3.2.2-17] [MQTT-3.3.2-9]
def test_an_alias_above_the_maximum_closes() -> None:
    client = Rig(Limits(topic_aliases=2)).online("c", MQTT_5)
    client.send(aliased(3, TOPIC))
    assert reason_of(client) == Reason.TOPIC_ALIAS_INVALID


def test_an_alias_that_stands_for_nothing_closes() -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5)
    client.send(aliased(1))
    assert reason_of(client) == Reason.PROTOCOL_ERROR
    client = rig.online("c", MQTT_5)
    client.send(aliased(2, TOPIC), aliased(1))
    assert reason_of(client) == Reason.PROTOCOL_ERROR


# [MQTT-3.3.2-7]
def test_an_alias_ends_with_its_connection() -> None:
    rig = Rig()
    kept = Properties(session_expiry_s=100)
    client = rig.online("c", MQTT_5, clean_start=False, properties=kept)
    client.send(aliased(1, TOPIC))
    client.hang_up()
    client = rig.online("c", MQTT_5, clean_start=False, properties=kept)
    client.send(aliased(1))
    assert reason_of(client) == Reason.PROTOCOL_ERROR


def test_rights_are_those_of_the_topic() -> None:
    rig = Rig()
    rig.rules.no_publish.add("secret")
    client, listener = rig.online("c", MQTT_5), rig.online("l")
    listener.subscribe("#")
    client.send(aliased(1, "secret"), aliased(1), aliased(1, qos=1))
    assert listener.take() == []
    assert client.take() == [PubAck(1, Reason.NOT_AUTHORIZED)]


def test_packet_id_0_is_found_behind_an_alias() -> None:
    rig = Rig()
    client, listener = rig.online("c", MQTT_5), rig.online("l")
    listener.subscribe("#")
    client.send(aliased(1, TOPIC))
    client.send_bytes(bytes.fromhex("3208 0000 0000 03230001"))
    assert reason_of(client) == Reason.MALFORMED_PACKET


def test_an_alias_does_not_reach_into_the_next_packet() -> None:
    rig = Rig()
    client, listener = rig.online("c", MQTT_5), rig.online("l")
    listener.subscribe("#")
    client.send(aliased(1, TOPIC))
    client.send_bytes(bytes.fromhex("3005 0000 032300 0104 0000"))
    assert reason_of(client) == Reason.MALFORMED_PACKET
    assert listener.messages() == [(TOPIC, b"x")]


def test_the_acknowledgement_of_an_aliased_message_stands_in_line() -> None:
    rig = Rig()
    kept: list[Message] = []
    client, listener = rig.online("c", MQTT_5), rig.online("l")
    listener.subscribe(TOPIC, 1)
    client.send(aliased(1, TOPIC))

    def keep(message: Message) -> None:
        if message.hold is not None:
            message.hold.keep()
            kept.append(message)

    LocalClient(rig.core, "keeper", lambda: rig.now).subscribe("held", keep)
    client.send(Publish("held", b"x", 1, packet_id=9), aliased(1, qos=1))
    assert client.take() == []
    hold = kept[-1].hold
    assert hold is not None
    hold.release()
    rig.settle()
    assert client.take() == [PubAck(9), PubAck(1)]


def test_aliases_of_topics_with_different_receivers_in_one_read() -> None:
    rig = Rig()
    client, one, two = rig.online("c", MQTT_5), rig.online("1"), rig.online("2")
    one.subscribe("one")
    two.subscribe("two")
    client.send(aliased(1, "one"), aliased(2, "two"))
    client.send(*(aliased(alias, payload=b"%d" % alias) for alias in (1, 2, 2, 1)))
    assert one.messages() == [("one", b"x"), ("one", b"1"), ("one", b"1")]
    assert two.messages() == [("two", b"x"), ("two", b"2"), ("two", b"2")]


# -- to a client -------------------------------------------------------------------------------


def takes_aliases(rig: Rig, maximum: int, **options: int) -> Peer:
    properties = Properties(topic_alias_maximum=maximum, **options)  # type: ignore[arg-type]  # test shorthand
    return rig.online("c", MQTT_5, properties=properties)


def seen(client: Peer) -> list[tuple[str, int | None]]:
    got = [each for each in client.take() if isinstance(each, Publish)]
    return [(each.topic, each.properties.topic_alias) for each in got]


# [MQTT-3.1.2-26] [MQTT-3.3.2-11]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_second_message_of_a_topic_comes_without_it(version: int, qos: int) -> None:
    rig = Rig()
    client, sender = takes_aliases(rig, 2), rig.online("s", version)
    client.subscribe("#", 2)
    for topic in (TOPIC, TOPIC, "other/topic", TOPIC, "third/topic", "other/topic", "abc", "abc"):
        sender.publish(topic, b"p" * 120, qos=qos, packet_id=1 if qos else None)
        if qos == 2:
            sender.hang_up()
            sender = rig.online("s", version)
    assert seen(client) == [
        (TOPIC, 1), ("", 1), ("other/topic", 2), ("", 1),
        ("third/topic", None), ("", 2), ("abc", None), ("abc", None),
    ]  # fmt: skip


def test_no_more_aliases_than_the_limit() -> None:
    rig = Rig(Limits(topic_aliases=1))
    client, sender = takes_aliases(rig, 100), rig.online("s")
    client.subscribe("#")
    for topic in ("topic/1", "topic/2", "topic/1"):
        sender.publish(topic)
    assert seen(client) == [("topic/1", 1), ("topic/2", None), ("", 1)]


def test_properties_and_payload_stay() -> None:
    rig = Rig()
    client, sender = takes_aliases(rig, 1), rig.online("s", MQTT_5)
    client.subscribe("#", 1)
    long = Properties(content_type="t" * 150, user_properties=(("k", "v"),))
    for qos in (1, 0, 1):
        sender.publish(TOPIC, b"payload", qos=qos, properties=long)
    for packet in client.take():
        assert isinstance(packet, Publish)
        assert packet.payload == b"payload"
        assert packet.properties.content_type == long.content_type
        assert packet.properties.user_properties == long.user_properties


# [MQTT-3.1.2-24]
def test_an_alias_is_not_given_when_the_packet_would_be_too_large() -> None:
    rig = Rig()
    client, sender = takes_aliases(rig, 1, maximum_packet_bytes=60), rig.online("s")
    client.subscribe("#")
    longest = 60 - 2 - 2 - len(TOPIC) - 1
    for size in (longest, longest - 2, longest - 3, longest):
        sender.publish(TOPIC, b"x" * size)
    assert seen(client) == [(TOPIC, None), (TOPIC, None), (TOPIC, 1), ("", 1)]


def test_what_is_dropped_for_a_slow_reader_gives_no_alias() -> None:
    rig = Rig()
    client, sender = takes_aliases(rig, 1), rig.online("s")
    client.subscribe("#")
    rig.core.pause(client.client)
    sender.publish(TOPIC)
    rig.core.resume(client.client, rig.now)
    sender.publish(TOPIC)
    assert seen(client) == [(TOPIC, 1)]


def test_what_is_sent_again_is_whole() -> None:
    rig = Rig()
    kept = Properties(session_expiry_s=100, topic_alias_maximum=1)
    client = rig.online("c", MQTT_5, clean_start=False, properties=kept)
    client.subscribe("#", 1)
    sender = rig.online("s")
    for _ in range(2):
        sender.publish(TOPIC, qos=1)
    assert seen(client) == [(TOPIC, 1), ("", 1)]
    client.hang_up()
    client = rig.online("c", MQTT_3_1_1, clean_start=False)
    assert seen(client) == [(TOPIC, None), (TOPIC, None)]


def test_output_without_publishes_is_left_as_it_is() -> None:
    output = encode_packet(PubAck(1), MQTT_5) * 2
    assert OutgoingAliases(1, 100).shorten(output) is output
