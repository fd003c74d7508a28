"""One client's share of a wake-up, and of memory, has a bound."""

import pytest

from broker.messages.message import Message
from broker.messages.retained import RetainedStore
from broker.messages.topics import SubscriptionTree
from broker.quota.limits import Limits
from broker.routing.scheduler import TURN, WAKE_UP
from broker.routing.session_registry import TICK_WORK
from broker.wire import decode_packet, encode_packet
from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Packet,
    PingReq,
    PingResp,
    Publish,
    SubAck,
    Subscribe,
    Subscription,
    Unsubscribe,
)
from broker.wire.properties import MAX_REPEATED
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from broker.wire.subscribing import MAX_FILTERS
from tests.unit.broker.rig import VERSIONS, Peer, Rig


def read(peer: Peer, *packets: Packet) -> None:
    """Bring packets in one read, and let nothing else happen."""
    stream = b"".join(encode_packet(each, peer.version) for each in packets)
    peer.rig.core.receive(peer.client, stream, peer.rig.now)


def answers(peer: Peer, kind: type) -> int:
    return sum(isinstance(each, kind) for each in peer.take())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_read_of_many_small_packets_takes_many_turns(version: int) -> None:
    rig = Rig()
    busy, other = rig.online("busy", version), rig.online("other", version)
    read(busy, *[PingReq()] * (5 * TURN))
    read(other, PingReq())
    rig.core.write_all(rig.now)  # writes the first turn, does the second
    assert answers(busy, PingResp) <= TURN
    assert answers(other, PingResp) == 1
    assert not busy.reads
    rig.settle()
    assert answers(busy, PingResp) == 4 * TURN
    assert busy.reads


def test_a_read_goes_on_where_its_turn_ended() -> None:
    rig = Rig()
    sender, listener = rig.online("s"), rig.online("l")
    listener.subscribe("#", 2)
    pings = [PingReq()] * (TURN + 3)
    ids = range(1, 2 * TURN)
    read(sender, *pings, *(Publish(f"t/{each}", b"", 2, packet_id=each) for each in ids))
    sender.send_bytes(b"\xc0")  # the end is not whole
    assert [topic for topic, _ in listener.messages()] == [f"t/{each}" for each in ids]
    sender.take()
    sender.send_bytes(b"\x00")
    assert answers(sender, PingResp) == 1


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_topics_that_are_new_count(version: int, qos: int) -> None:
    rig = Rig()
    sender = rig.online("s", version)
    packet_id = 1 if qos else None
    packets = [Publish(f"t/{each}", b"", qos, packet_id=packet_id) for each in range(5 * TURN)]
    read(sender, *packets)
    assert rig.core.counters.messages_received <= TURN
    rig.settle()
    assert rig.core.counters.messages_received == 5 * TURN


def test_plain_packets_to_known_topics_do_not() -> None:
    rig = Rig()
    sender = rig.online("s")
    read(sender, *[Publish("t", b"x")] * (5 * TURN))
    assert rig.core.counters.messages_received == 5 * TURN


def test_large_packets_count_as_several() -> None:
    rig = Rig()
    sender = rig.online("s")
    many = [Subscribe(1, tuple(Subscription(f"t/{each}") for each in range(500)))] * 10
    read(sender, *many)
    rig.core.write_all(rig.now)
    assert answers(sender, SubAck) <= 2
    rig.settle()
    assert answers(sender, SubAck) >= 8


def test_repeated_properties_are_bounded() -> None:
    def packet(count: int) -> bytes:
        made = Publish("t", b"", properties=Properties(user_properties=(("", ""),) * count))
        return encode_packet(made, MQTT_5)

    assert decode_packet(packet(MAX_REPEATED), MQTT_5) is not None
    with pytest.raises(RemoteProtocolError) as caught:
        decode_packet(packet(MAX_REPEATED + 1), MQTT_5)
    assert caught.value.reason == Reason.QUOTA_EXCEEDED


@pytest.mark.parametrize("version", VERSIONS)
def test_filters_in_a_packet_are_bounded(version: int) -> None:
    for packet in (
        Subscribe(1, (Subscription("a"),) * (MAX_FILTERS + 1)),
        Unsubscribe(1, ("a",) * (MAX_FILTERS + 1)),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            decode_packet(encode_packet(packet, version), version)
        assert caught.value.reason == Reason.QUOTA_EXCEEDED


def test_looking_for_retained_messages_takes_turns_too() -> None:
    rig = Rig()
    for number in range(20_000):
        rig.core.publish(Message(f"a/{number}/b", b"x", retain=True), rig.now)
    client = rig.online("c", MQTT_5)
    client.subscribe("unrelated")
    session = client.client.session
    assert session is not None
    for topic_filter in ("+/+/none", "#"):
        read(client, Subscribe(1, (Subscription(topic_filter),)))
        steps = 0
        while session.retained_backlog:
            rig.core.write_all(rig.now)
            steps += 1
        assert steps > 5, topic_filter
    rig.settle()
    assert len(client.messages()) == 20_000


def test_a_walk_through_a_store_that_changes() -> None:
    store = RetainedStore(100, 100_000)
    for number in range(10):
        store.keep(Message(f"a/{number}/b", b"x", retain=True))
    walk = store.walk("+/+/b")
    found = [message for message in (next(walk) for _ in range(4)) if message]
    for number in range(10):
        store.forget(f"a/{number}/b")
    store.keep(Message("z", b"x", retain=True))
    assert len(found + [each for each in walk if each]) <= 10
    assert [message.topic for message in store.match("#")] == ["z"]


@pytest.mark.parametrize("version", VERSIONS)
def test_subscriptions_are_bounded_in_all(version: int) -> None:
    rig = Rig(Limits(subscriptions_bytes=50_000))
    one, two = rig.online("1", version), rig.online("2", version)
    for number in range(100):
        one.send(Subscribe(1, (Subscription(f"{number}/+/#"),)))
    two.send(Subscribe(1, (Subscription("a"),)))
    refused = Reason.QUOTA_EXCEEDED if version == MQTT_5 else 0x80
    assert [each.codes for each in two.take() if isinstance(each, SubAck)] == [(refused,)]
    one.send(Unsubscribe(1, tuple(f"{number}/+/#" for number in range(100))))
    two.send(Subscribe(1, (Subscription("a"),)))
    assert [each.codes for each in two.take() if isinstance(each, SubAck)] == [(0,)]


def test_a_tree_without_subscriptions_costs_nothing() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    filters = ("a", "a/+", "a/#", "#", "+/b/+", "a/+/c")
    for number, topic_filter in enumerate(filters * 2):
        tree.add(number % 4, Subscription(topic_filter, qos=number % 3))
    assert tree.size_bytes > 0
    for number in range(4):
        for topic_filter in filters:
            tree.remove(number, topic_filter)
            tree.remove(number, topic_filter)
    assert tree.size_bytes == 0


def test_long_topics_and_names_are_refused() -> None:
    rig = Rig(Limits(topic_bytes=10, client_id_bytes=10))
    client = rig.online("c", MQTT_5)
    client.send(Subscribe(1, (Subscription("ä" * 6),)))
    assert [each.codes for each in client.take() if isinstance(each, SubAck)] == [
        (Reason.TOPIC_FILTER_INVALID,)
    ]
    client.publish("t" * 10)
    assert not client.closed
    client.publish("t" * 11)
    assert client.closed
    for named in (rig.connect("c" * 11), rig.connect("c", name="n" * 11)):
        assert [each.code for each in named.take() if isinstance(each, ConnAck)] == [2]
        assert named.closed


def test_properties_count_as_queued() -> None:
    heavy = Properties(user_properties=(("k", "v" * 1000),) * 10)
    assert Message("t", b"", properties=heavy).size_bytes > 10_000
    rig = Rig(Limits(queued_bytes=50_000))
    away = rig.online("away", clean_start=False)
    away.subscribe("t", 1)
    away.hang_up()
    sender = rig.online("s", MQTT_5)
    for _ in range(50):
        sender.publish("t", qos=1, properties=heavy)
    assert rig.core.counters.dropped["queue_full"] > 40


def test_many_sessions_that_expire_at_once_end_a_few_at_a_time() -> None:
    rig = Rig()
    for number in range(5):
        away = rig.online(f"c{number}", MQTT_5, properties=Properties(session_expiry_s=10))
        away.send(Subscribe(1, tuple(Subscription(f"{each}") for each in range(999))))
        away.hang_up()
    rig.now += 11
    rig.core.tick(rig.now)
    assert rig.core.counters.subscriptions >= 5 * 999 - TICK_WORK - 1000
    assert rig.core.counters.subscriptions > 0
    rig.core.tick(rig.now)
    rig.core.tick(rig.now)
    assert rig.core.counters.subscriptions == 0


def test_the_widest_of_many_matching_subscriptions_counts() -> None:
    rig = Rig()
    client, sender = rig.online("c", MQTT_5), rig.online("s", MQTT_3_1_1)
    for number, topic_filter in enumerate(("a/b", "a/+", "#", "+/b"), 1):
        client.subscribe(topic_filter, number % 3, identifiers=(number,))
    sender.publish("a/b", qos=2)
    (message,) = (each for each in client.take() if isinstance(each, Publish))
    assert message.qos == 2
    assert sorted(message.properties.subscription_identifiers) == [1, 2, 3, 4]


def test_a_client_that_fills_the_queues_leaves_room_for_others() -> None:
    rig = Rig(Limits(queued_bytes_total=200_000))
    greedy = [rig.online(f"greedy-{each}", clean_start=False) for each in range(10)]
    honest, sender = rig.online("honest"), rig.online("s")
    for client in greedy:
        client.subscribe("flood", 1)
    honest.subscribe("honest", 1)
    for _ in range(500):
        sender.publish("flood", bytes(1000), qos=1)
    assert rig.core.counters.dropped["queue_full"] > 0
    assert 150_000 < rig.core.counters.queued_bytes <= 200_000
    sender.take()
    for _ in range(5):
        sender.publish("honest", bytes(1000), qos=1)
    assert len(honest.messages()) == 5


def test_messages_that_have_to_wait_count() -> None:
    rig = Rig()
    sender = rig.online("s")
    for each in range(20):
        slow = rig.online(f"slow-{each}")
        slow.subscribe("t", 1)
        rig.core.pause(slow.client)
    sender.publish("t", qos=1)
    before = rig.core.counters.messages_received
    read(sender, *(Publish("t", b"", 1, packet_id=each) for each in range(1, 5_001)))
    assert rig.core.counters.messages_received - before < 500
    rig.settle()
    assert rig.core.counters.messages_received - before == 5_000


def subscribe_to(count: int) -> Subscribe:
    return Subscribe(1, tuple(Subscription(f"some/topic/{each}") for each in range(count)))


def test_a_client_that_has_overdrawn_a_turn_waits_until_it_is_paid() -> None:
    rig = Rig()
    busy, other = rig.online("busy"), rig.online("other")
    read(busy, subscribe_to(1_000))
    owed = busy.client.paid_at
    assert owed > 3 * WAKE_UP
    read(busy, PingReq())
    steps = 0
    while not busy.reads or not steps:
        read(other, PingReq())
        rig.core.write_all(rig.now)
        assert answers(other, PingResp) == 1
        steps += 1
    assert steps > owed // (WAKE_UP + 1)
    rig.settle()
    assert answers(busy, PingResp) == 1


def test_what_is_owed_shrinks_with_every_wake_up() -> None:
    rig = Rig()
    busy = [rig.online(f"busy-{each}") for each in range(10)]
    little = rig.online("little")
    for each in busy:
        read(each, *[subscribe_to(100)] * 10)
    read(little, subscribe_to(3))  # it owes little now, and stands in line behind the others
    for _ in range(little.client.paid_at):
        rig.core.write_all(rig.now)
    little.take()
    read(little, PingReq())
    rig.core.write_all(rig.now)
    assert answers(little, PingResp) == 1


def test_a_wake_up_has_an_end_however_many_want_much() -> None:
    rig = Rig()
    busy = [rig.online(f"busy-{each}") for each in range(20)]
    for _ in range(3):
        for each in busy:
            read(each, subscribe_to(100))
    seen, steps = [0] * len(busy), 0
    while rig.core.has_output:
        rig.core.write_all(rig.now)
        steps += 1
        now = [answers(each, SubAck) for each in busy]
        assert steps == 1 or sum(now) <= 2 * WAKE_UP // 50  # each costs more than 50
        seen = [before + each for before, each in zip(seen, now, strict=True)]
        assert max(seen) - min(seen) <= 2  # in turn
    assert seen == [3] * len(busy)
    assert steps > 20


def test_one_that_has_gone_stands_in_line_no_more() -> None:
    rig = Rig()
    busy = rig.online("busy")
    read(busy, *[PingReq()] * (3 * TURN))
    rig.core.write_all(rig.now)
    assert rig.core.has_output
    rig.core.lost(busy.client, rig.now)
    rig.settle()
    assert not rig.core.has_output


def test_messages_wait_for_each_of_many() -> None:
    rig = Rig()
    sender = rig.online("s")
    away = [rig.online(f"away-{each}", clean_start=False) for each in range(10)]
    for number, each in enumerate(away):
        each.subscribe("t", 1 + number % 2)
        each.hang_up()
    read(sender, *(Publish("t", b"x", 1, packet_id=each) for each in range(1, 4)))
    rig.settle()
    sessions = [rig.online(f"away-{each}", clean_start=False) for each in range(10)]
    assert [len(each.messages()) for each in sessions] == [3] * 10
