"""Shared subscriptions."""

import pytest

from broker.local_client import LocalClient
from broker.quota.limits import Limits
from broker.wire.errors import LocalProtocolError
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Disconnect,
    PubAck,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    Unsubscribe,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Peer, Rig

SHARED = "$share/g/a/+"


def stored(rig: Rig, client_id: str) -> Peer:
    kept = Properties(session_expiry_s=100)
    return rig.online(client_id, MQTT_5, clean_start=False, properties=kept)


def members(rig: Rig, count: int, qos: int = 1, *, stay: bool = False) -> list[Peer]:
    peers = [stored(rig, f"m{n}") if stay else rig.online(f"m{n}") for n in range(count)]
    for each in peers:
        each.subscribe(SHARED, qos)
    return peers


def payloads(peer: Peer) -> list[bytes]:
    return [each.payload for each in peer.take() if isinstance(each, Publish)]


def publish(rig: Rig, count: int, qos: int = 0) -> None:
    sender = rig.online("s")
    for number in range(count):
        sender.publish("a/b", b"%d" % number, qos=qos)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
def test_members_take_turns(version: int, qos: int) -> None:
    rig = Rig()
    one, two = rig.online("1", version), rig.online("2", version)
    for each in (one, two):
        each.subscribe(SHARED, 1)
    publish(rig, 4, qos)
    assert (payloads(one), payloads(two)) == ([b"0", b"2"], [b"1", b"3"])


# [MQTT-4.5.0-1]
def test_every_group_and_every_filter_of_its_own_gets_a_copy() -> None:
    rig = Rig()
    client, other = rig.online("c"), rig.online("o")
    for topic_filter in (SHARED, "$share/h/a/+", "$share/g/a/b", "a/b"):
        client.subscribe(topic_filter)
    other.subscribe(SHARED)
    publish(rig, 2)
    assert len(client.take()) == 7
    assert len(other.take()) == 1


# [MQTT-4.8.2-3]
def test_each_member_has_its_own_options() -> None:
    rig = Rig()
    one, two = rig.online("1", MQTT_5), rig.online("2", MQTT_5)
    one.subscribe(SHARED, 0, identifiers=(7,))
    two.subscribe(SHARED, 2)
    publish(rig, 2, 1)
    (first,), (second,) = one.take(), two.take()
    assert isinstance(first, Publish)
    assert isinstance(second, Publish)
    assert (first.qos, first.properties.subscription_identifiers) == (0, (7,))
    assert (second.qos, second.properties.subscription_identifiers) == (1, ())
    one.subscribe(SHARED, 1)
    publish(rig, 1, 1)
    (third,) = one.take()
    assert isinstance(third, Publish)
    assert third.qos == 1


def test_a_member_that_has_unsubscribed_or_gone_takes_no_turn() -> None:
    rig = Rig()
    one, two, three = members(rig, 3)
    one.send(Unsubscribe(2, (SHARED,)))
    two.hang_up()
    one.take()
    publish(rig, 2)
    assert (payloads(one), payloads(three)) == ([], [b"0", b"1"])
    three.send(Unsubscribe(2, (SHARED,)))
    assert rig.core.counters.subscriptions == 0
    sender = rig.online("five", MQTT_5)
    sender.publish("a/b", qos=1)
    assert sender.take() == [PubAck(1, Reason.NO_MATCHING_SUBSCRIBERS)]


def test_connected_members_come_first_then_slow_ones_then_those_away() -> None:
    rig = Rig()
    away, slow, good = members(rig, 3, stay=True)
    away.hang_up()
    rig.core.pause(slow.client)
    publish(rig, 3, 1)
    assert payloads(good) == [b"0", b"1", b"2"]
    good.hang_up()
    publish(rig, 2, 1)
    rig.core.resume(slow.client, rig.now)
    rig.settle()
    assert payloads(slow) == [b"0", b"1"]
    slow.hang_up()
    publish(rig, 1, 0)
    publish(rig, 2, 1)
    back = [stored(rig, f"m{n}").take() for n in range(3)]
    new = [
        [each for each in got if isinstance(each, Publish) and not each.duplicate] for got in back
    ]
    assert sorted(len(each) for each in new) == [0, 1, 1]


def test_a_member_away_keeps_what_it_was_sent_until_its_session_ends() -> None:
    rig = Rig()
    one, two = members(rig, 2, stay=True)
    publish(rig, 4, 1)
    first, second = (each for each in one.take() if isinstance(each, Publish))
    assert (first.payload, second.payload) == (b"0", b"2")
    one.send(PubAck(first.packet_id or 0))
    assert payloads(two) == [b"1", b"3"]
    one.hang_up()
    assert payloads(two) == []
    rig.pass_time(100)
    assert payloads(two) == [b"2"]
    assert rig.core.counters.messages_dropped == 0


def test_what_waits_is_given_to_another_too() -> None:
    rig = Rig(Limits(in_flight=1))
    one, two = members(rig, 2)
    two.hang_up()
    publish(rig, 3, 1)
    assert payloads(one) == [b"0"]
    two = rig.online("m1")
    two.subscribe(SHARED, 0)
    one.hang_up()
    assert payloads(two) == [b"0", b"1", b"2"]


def test_the_last_one_to_go_loses_what_it_had() -> None:
    rig = Rig()
    (one,) = members(rig, 1)
    publish(rig, 2, 1)
    one.hang_up()
    assert rig.core.counters.dropped == {"session_ended": 2}
    assert rig.core.counters.queued_bytes == 0


def test_an_expired_message_is_not_given_to_another() -> None:
    rig = Rig()
    one, two = members(rig, 2)
    sender = rig.online("5", MQTT_5)
    sender.publish("a/b", qos=1, properties=Properties(message_expiry_s=5))
    rig.now += 5
    one.hang_up()
    assert payloads(two) == []
    assert rig.core.counters.dropped == {"expired": 1}


def test_a_used_packet_id_does_not_repeat_what_was_acknowledged() -> None:
    rig = Rig(Limits(in_flight=1))
    one, two = members(rig, 2)
    one.subscribe("own", 1)
    two.hang_up()
    sender = rig.online("s")
    for number in range(100):  # often enough to use every id of the pool again
        sender.publish("a/b" if number < 50 else "own", b"%d" % number, qos=1)
        (packet,) = one.take()
        assert isinstance(packet, Publish)
        if number < 99:
            one.send(PubAck(packet.packet_id or 0))
    two = rig.online("m1")
    two.subscribe(SHARED, 1)
    one.hang_up()
    assert payloads(two) == []


# [MQTT-4.8.2-4] [MQTT-4.8.2-5]
def test_qos_2_is_completed_with_the_chosen_member_or_not_at_all() -> None:
    rig = Rig()
    one, two = members(rig, 2, 2, stay=True)
    rig.online("s").send(*(Publish("a/b", b"x", 2, packet_id=each) for each in (1, 2, 3, 4)))
    first, second = (each for each in one.take() if isinstance(each, Publish))
    one.send(PubRec(first.packet_id or 0))
    one.hang_up()
    one = stored(rig, "m0")
    again, release = one.take()
    assert isinstance(again, Publish)
    assert again.packet_id == second.packet_id
    assert release == PubRel(first.packet_id or 0)
    two.take()
    one.hang_up()
    rig.pass_time(100)
    assert two.take() == []


def test_no_retained_message_is_sent_on_subscribe() -> None:
    rig = Rig()
    for topic in ("a/b", "$share/g/a/b"):
        rig.online("s").publish(topic, retain=True)
    client = rig.online("c", MQTT_5)
    assert client.subscribe(SHARED) == []
    assert len(client.subscribe("a/b")) == 1


# [MQTT-3.8.3-4]
def test_no_local_on_a_shared_subscription_closes() -> None:
    client = Rig().online("c", MQTT_5)
    client.send(Subscribe(1, (Subscription(SHARED, no_local=True),)))
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.PROTOCOL_ERROR


# [MQTT-4.8.2-1] [MQTT-4.8.2-2]
@pytest.mark.parametrize(
    "topic_filter",
    ["$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a", "$share/g/a#"],
)
def test_what_is_no_shared_filter_closes(topic_filter: str) -> None:
    client = Rig().online("c", MQTT_5)
    client.send(Subscribe(1, (Subscription(topic_filter),)))
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.MALFORMED_PACKET


def test_rights_are_those_on_the_topics() -> None:
    rig = Rig(Limits(topic_levels=2))
    rig.rules.no_subscribe.add("secret")
    client = rig.online("c", MQTT_5)
    filters = ("$share/g/secret", "$share/g/a/b", "$share/g/a/b/c")
    client.send(Subscribe(1, tuple(Subscription(each) for each in filters)))
    (answer,) = client.take()
    assert isinstance(answer, SubAck)
    assert answer.codes == (Reason.NOT_AUTHORIZED, 0, Reason.TOPIC_FILTER_INVALID)
    rig.rules.no_subscribe.add("a/b")
    rig.core.admin.rights_changed()
    rig.online("s").publish("a/b")
    assert client.take() == []
    assert rig.core.counters.subscriptions == 0


def test_taking_another_right_leaves_what_waits_for_the_group() -> None:
    rig = Rig()
    (one,) = members(rig, 1, stay=True)
    one.subscribe("secret", 1)
    one.hang_up()
    publish(rig, 1, 1)
    rig.rules.no_subscribe.add("secret")
    rig.core.admin.rights_changed()
    assert payloads(stored(rig, "m0")) == [b"0"]


def test_local_clients_share_nothing() -> None:
    rig = Rig()
    with pytest.raises(LocalProtocolError):
        LocalClient(rig.core, "l", lambda: rig.now).subscribe(SHARED, lambda _: None)


def test_a_member_away_with_qos_0_is_not_chosen() -> None:
    rig = Rig()
    zero, one = stored(rig, "m0"), stored(rig, "m1")
    zero.subscribe(SHARED, 0)
    one.subscribe(SHARED, 1)
    for each in (zero, one):
        each.hang_up()
    publish(rig, 2, 1)
    assert payloads(stored(rig, "m1")) == [b"0", b"1"]


# [MQTT-4.8.2-5]
def test_qos_2_that_waits_is_given_to_nobody_else() -> None:
    rig = Rig(Limits(in_flight=1))
    one, two = members(rig, 2, 2)
    two.hang_up()
    rig.online("s").send(*(Publish("a/b", b"x", 2, packet_id=each) for each in (1, 2)))
    two = rig.online("m1")
    two.subscribe(SHARED, 2)
    one.hang_up()
    assert payloads(two) == []


def test_what_a_member_could_not_take_any_more_is_not_given_to_another() -> None:
    rig = Rig()
    one, two = members(rig, 2, stay=True)
    rig.online("s").publish("a/b", b"x" * 100, qos=1)
    one.hang_up()
    narrow = Properties(session_expiry_s=0, maximum_packet_bytes=50)
    rig.online("m0", MQTT_5, clean_start=False, properties=narrow).hang_up()
    assert payloads(two) == []
    assert rig.core.counters.dropped == {"packet_too_large": 1}


def play_with_pauses(*, hot_path: bool) -> list[list[bytes]]:
    rig = Rig(hot_path=hot_path)
    versions = (MQTT_3_1_1, MQTT_5, MQTT_3_1_1, MQTT_5)
    peers = [rig.online(f"m{number}", version) for number, version in enumerate(versions)]
    for each in peers:
        each.subscribe(SHARED)
    sender = rig.online("s", MQTT_5)
    slow: list[tuple[int, ...]] = [(), (1,), (0, 2), (), (3,), ()]
    for start, paused in enumerate(slow):
        for number in paused:
            rig.core.pause(peers[number].client)
        sender.send(*(Publish("a/b", b"%d.%d" % (start, number)) for number in range(7)))
        for number in paused:
            rig.core.resume(peers[number].client, rig.now)
    rig.settle()
    return [payloads(each) for each in peers]


def test_a_run_goes_round_among_those_that_read() -> None:
    seen = play_with_pauses(hot_path=True)
    assert seen == play_with_pauses(hot_path=False)
    assert sorted(each for some in seen for each in some) == [
        b"%d.%d" % (n // 7, n % 7) for n in range(42)
    ]
    assert seen[0][:3] == [b"0.0", b"0.4", b"1.1"]


def test_what_a_run_may_not_share() -> None:
    rig = Rig()
    one, two = rig.online("1", MQTT_5), rig.online("2", MQTT_5)
    one.subscribe(SHARED, identifiers=(7,))
    two.subscribe(SHARED)
    publish(rig, 4)
    identified = [each for each in one.take() if isinstance(each, Publish)]
    assert [each.properties.subscription_identifiers for each in identified] == [(7,)] * 2
    assert len(payloads(two)) == 2
    two.hang_up()
    publish(rig, 2)
    assert len(payloads(one)) == 2
