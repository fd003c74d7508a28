"""Delivery: packet ids, order, what comes again and what does not, and how long a session lasts."""

import random

import pytest

from broker.quota.limits import Limits
from broker.wire.packets import MQTT_5, PubAck, PubComp, Publish, PubRec, PubRel
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Peer, Rig

KEPT = Properties(session_expiry_s=100)


def publishes(peer: Peer) -> list[Publish]:
    return [each for each in peer.take() if isinstance(each, Publish)]


def stored(rig: Rig, client_id: str, version: int) -> Peer:
    properties = KEPT if version == MQTT_5 else Properties()
    return rig.online(client_id, version, clean_start=False, properties=properties)


# [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [1, 2])
def test_a_packet_id_is_never_0_and_never_in_use(qos: int, version: int, hot_path: bool) -> None:
    rig = Rig(Limits(in_flight=40), hot_path=hot_path)
    client, sender = rig.online("c", version), rig.online("s", version)
    client.subscribe("a", 2)
    order, in_use = random.Random(7), set()
    for number in range(500):
        sender.publish("a", b"%d" % number, qos=qos, packet_id=number + 1)
        if qos == 2:
            sender.send(PubRel(number + 1))
        for packet in publishes(client):
            assert packet.packet_id
            assert packet.packet_id not in in_use
            in_use.add(packet.packet_id)
        while len(in_use) > 30:
            done = order.choice(sorted(in_use))
            in_use.remove(done)
            client.send(*((PubAck(done),) if qos == 1 else (PubRec(done), PubComp(done))))
            in_use |= {each.packet_id or 0 for each in publishes(client)}
    assert rig.core.counters.messages_dropped == 0


# [MQTT-4.3.2-2] [MQTT-4.3.3-2] [MQTT-2.2.1-5] [MQTT-3.3.4-1]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [1, 2])
def test_the_first_time_a_message_is_sent(qos: int, version: int) -> None:
    rig = Rig()
    client, sender = rig.online("c", version), rig.online("s", version)
    client.subscribe("a", 2)
    sender.publish("a", qos=qos, packet_id=4711, duplicate=True)
    (packet,) = publishes(client)
    assert (packet.qos, packet.duplicate) == (qos, False)
    assert packet.packet_id
    assert sender.take() == [PubAck(4711) if qos == 1 else PubRec(4711)]


# [MQTT-4.3.2-5] [MQTT-4.3.2-4]
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_after_its_puback_a_packet_id_is_that_of_a_new_message(
    version: int, hot_path: bool
) -> None:
    rig = Rig(hot_path=hot_path)
    client, sender = rig.online("c", version), rig.online("s", version)
    client.subscribe("a")
    for duplicate in (False, True, False):
        sender.publish("a", b"x", qos=1, packet_id=9, duplicate=duplicate)
        assert sender.take() == [PubAck(9)]
        assert client.messages() == [("a", b"x")]


# [MQTT-4.3.3-7] [MQTT-4.4.0-1]
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_was_sent_does_not_expire(qos: int) -> None:
    rig = Rig()
    client = stored(rig, "c", MQTT_5)
    client.subscribe("a", 2)
    sender = rig.online("s", MQTT_5)
    sender.publish("a", b"x", qos=qos, properties=Properties(message_expiry_s=5))
    (first,) = publishes(client)
    client.hang_up()
    rig.pass_time(50)
    client = stored(rig, "c", MQTT_5)
    (again,) = publishes(client)
    assert (again.packet_id, again.duplicate, again.payload) == (first.packet_id, True, b"x")
    if qos == 2:
        client.send(PubRec(first.packet_id or 0))
        assert client.take() == [PubRel(first.packet_id or 0)]


# [MQTT-4.3.3-13]
def test_the_exchange_is_completed_for_an_expired_message() -> None:
    rig = Rig()
    away, sender = stored(rig, "away", MQTT_5), rig.online("s", MQTT_5)
    away.subscribe("a", 2)
    away.hang_up()
    sender.publish("a", qos=2, packet_id=3, properties=Properties(message_expiry_s=5))
    rig.pass_time(50)
    assert stored(rig, "away", MQTT_5).messages() == []
    sender.publish("a", qos=2, packet_id=3, duplicate=True)
    sender.send(PubRel(3))
    assert sender.take() == [PubRec(3), PubRec(3), PubComp(3)]


# [MQTT-4.6.0-5] [MQTT-4.6.0-6]
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("topic_filter", ["#", "a/+"])
def test_each_topic_and_qos_keeps_its_order(
    topic_filter: str, version: int, hot_path: bool
) -> None:
    rig = Rig(Limits(in_flight=7), hot_path=hot_path)
    client, sender = stored(rig, "c", version), rig.online("s", version)
    client.subscribe(topic_filter, 2)
    order, seen, sent = random.Random(3), [], []
    for number in range(300):
        topic, qos = order.choice(("a/1", "a/2", "a/3")), order.choice((0, 0, 1, 1, 2))
        sent.append((topic, qos))
        options = {"packet_id": number + 1} if qos else {}
        sender.publish(topic, b"%d" % number, qos=qos, **options)
        if qos == 2:
            sender.send(PubRel(number + 1))
        if number in {100, 200}:
            client.hang_up()
            client = stored(rig, "c", version)
        if order.random() < 0.3:
            seen += complete(client)
    while arrived := complete(client):
        seen += arrived
    kinds = {(each.topic, each.qos) for each in seen}
    assert len(kinds) == 9
    for kind in kinds:
        numbers = [int(each.payload) for each in seen if (each.topic, each.qos) == kind]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == sent.count(kind) or not kind[1]


def complete(client: Peer) -> list[Publish]:
    """Acknowledge all that came and return it."""
    arrived = publishes(client)
    for each in arrived:
        if each.qos == 1:
            client.send(PubAck(each.packet_id or 0))
        elif each.qos == 2:
            client.send(PubRec(each.packet_id or 0), PubComp(each.packet_id or 0))
    return arrived


# [MQTT-4.8.2-6] [MQTT-4.4.0-2]
@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("qos", [1, 2])
def test_what_a_member_refuses_is_given_to_nobody(qos: int, comes_back: bool) -> None:
    rig = Rig()
    one, two = stored(rig, "1", MQTT_5), stored(rig, "2", MQTT_5)
    for member in (one, two):
        member.subscribe("$share/g/a", 2)
    rig.online("s").publish("a", qos=qos)
    (packet,) = publishes(one)
    answer = PubAck if qos == 1 else PubRec
    one.send(answer(packet.packet_id or 0, Reason.UNSPECIFIED_ERROR))
    assert one.take() == []
    if comes_back:
        one.hang_up()
        assert publishes(stored(rig, "1", MQTT_5)) == []
    rig.core.admin.disconnect("1", rig.now)
    rig.settle()
    assert two.messages() == []
    assert rig.core.counters.queued_bytes <= 150  # the sender's packet id


# [MQTT-4.4.0-2]
@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_refused_is_not_sent_again(qos: int) -> None:
    rig = Rig()
    client = stored(rig, "c", MQTT_5)
    client.subscribe("a", 2)
    rig.online("s").publish("a", qos=qos)
    (packet,) = publishes(client)
    answer = PubAck if qos == 1 else PubRec
    client.send(answer(packet.packet_id or 0, Reason.NOT_AUTHORIZED))
    client.hang_up()
    assert stored(rig, "c", MQTT_5).take() == []


# [MQTT-4.4.0-1]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [1, 2])
def test_nothing_is_sent_again_while_the_connection_lasts(qos: int, version: int) -> None:
    rig = Rig()
    client = stored(rig, "c", version)
    client.subscribe("a", 2)
    rig.online("s").publish("a", qos=qos)
    (packet,) = publishes(client)
    rig.pass_time(3600)
    assert client.take() == []
    if qos == 2:
        client.send(PubRec(packet.packet_id or 0))
        assert client.take() == [PubRel(packet.packet_id or 0)]
        rig.pass_time(3600)
        assert client.take() == []


# [MQTT-4.1.0-1] [MQTT-4.1.0-2]
@pytest.mark.parametrize("expiry_s", [0, 1])
def test_a_session_does_not_expire_while_its_client_is_there(expiry_s: int) -> None:
    rig = Rig()
    kept = Properties(session_expiry_s=expiry_s)
    client = rig.online("c", MQTT_5, clean_start=False, properties=kept)
    client.subscribe("a", 2)
    rig.pass_time(1000)
    rig.online("s").publish("a", b"x", qos=1)
    assert client.messages() == [("a", b"x")]
    client.hang_up()
    rig.pass_time(expiry_s)
    assert rig.core.counters.subscriptions == 0
