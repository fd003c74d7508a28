"""Stored sessions: what waits for the disk, what a crash leaves, what a full disk does."""

from itertools import product

import pytest

from broker.journal.state import JournalState
from broker.local_client import LocalClient
from broker.quota.limits import Limits
from broker.wire import encode_packet
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Disconnect,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import Peer
from tests.unit.broker.stored_rig import StoredRig

paths = pytest.mark.parametrize("hot_path", [True, False])
PASSING = Properties()  # of a session that ends with its connection


def reader(rig: StoredRig, qos: int = 1, **options: object) -> Peer:
    peer = rig.online("r")
    rig.subscribe(peer, "a/#", qos, **options)
    return peer


def sender(rig: StoredRig, version: int = MQTT_5) -> Peer:
    return rig.online("s", version, clean_start=True, properties=PASSING)


def codes(peer: Peer) -> list[int]:
    return [each.reason for each in peer.take() if isinstance(each, PubAck | PubRec | PubComp)]


@paths
def test_an_answer_waits_for_the_disk(hot_path: bool) -> None:
    rig = StoredRig(hot_path=hot_path)
    peer, other = reader(rig), sender(rig)
    other.send(*(Publish("a/b", b"%d" % each, 1, packet_id=each) for each in (1, 2, 3)))
    assert not other.take()
    assert peer.messages() == [("a/b", b"1"), ("a/b", b"2"), ("a/b", b"3")]
    rig.commit()
    assert [each.packet_id for each in other.take() if isinstance(each, PubAck)] == [1, 2, 3]


@paths
def test_what_nobody_stores_is_answered_at_once_but_in_order(hot_path: bool) -> None:
    rig = StoredRig(hot_path=hot_path)
    passing = rig.online("p", clean_start=True, properties=PASSING)
    passing.subscribe("b", 1)
    reader(rig)
    other = sender(rig)
    other.publish("b", qos=1, packet_id=1)
    assert codes(other) == [0]
    other.publish("a/b", qos=1, packet_id=2)
    other.publish("b", qos=1, packet_id=3)
    assert len(passing.messages()) == 2
    assert not other.take()
    rig.commit()
    assert [each.packet_id for each in other.take() if isinstance(each, PubAck)] == [2, 3]


@paths
def test_what_a_hot_run_stored_is_there_after_a_crash(hot_path: bool) -> None:
    rig = StoredRig(hot_path=hot_path)
    reader(rig).hang_up()
    other = sender(rig)
    other.send(*(Publish("a/b", b"%d" % each, 1, packet_id=each) for each in range(1, 100)))
    rig.commit()
    assert len(codes(other)) == 99
    rig.crash()
    again = rig.online("r")
    assert rig.was_present
    assert [payload for _, payload in again.messages()] == [b"%d" % each for each in range(1, 100)]


def test_qos_2_leaves_when_its_packet_id_is_safe() -> None:
    rig = StoredRig()
    peer, other = reader(rig, qos=2), sender(rig)
    other.publish("a/b", qos=2, packet_id=1)
    assert not peer.take()
    rig.commit()
    (packet,) = peer.take()
    assert isinstance(packet, Publish)
    assert packet.packet_id is not None
    peer.send(PubRec(packet.packet_id))
    assert not peer.take(), "PUBREL before the message is safe from coming again"
    rig.commit()
    assert peer.take() == [PubRel(packet.packet_id)]


@paths
def test_a_full_disk_refuses_mqtt_5(hot_path: bool) -> None:
    rig = StoredRig(hot_path=hot_path)
    reader(rig)
    other = sender(rig)
    other.send(*(Publish("a/b", b"", 1, packet_id=each) for each in (1, 2)))
    other.publish("a/b", qos=2, packet_id=3)
    other.publish("c", qos=1, retain=True, packet_id=4)
    rig.store.refuse()
    rig.settle()
    assert codes(other) == [Reason.QUOTA_EXCEEDED] * 4
    assert rig.core.counters.refused["not_stored"] >= 3
    other.publish("a/b", qos=2, packet_id=3)
    rig.commit()
    assert codes(other) == [Reason.SUCCESS], "a refused packet id is free"


def test_a_message_that_a_full_disk_refuses_does_not_hold_up_those_behind_it() -> None:
    rig = StoredRig()
    narrow = Properties(session_expiry_s=3600, receive_maximum=1)
    peer = rig.online("r", properties=narrow)
    rig.subscribe(peer, "a/b", 2)
    other = sender(rig)
    other.publish("a/b", b"refused", qos=2, packet_id=1)
    other.publish("a/b", b"kept", qos=1, packet_id=2)
    rest = rig.store.pending[1:]
    del rig.store.pending[1:]
    rig.store.refuse()
    rig.store.pending += rest
    rig.commit()
    assert codes(other) == [Reason.QUOTA_EXCEEDED, Reason.SUCCESS]
    assert [each.payload for each in peer.take() if isinstance(each, Publish)] == [b"kept"]


@paths
def test_a_full_disk_ends_a_3_1_1_connection(hot_path: bool) -> None:
    rig = StoredRig(hot_path=hot_path)
    reader(rig)
    other = sender(rig, MQTT_3_1_1)
    other.publish("a/b", qos=1)
    rig.store.refuse()
    rig.settle()
    assert not other.take()
    assert other.closed


def test_a_full_disk_keeps_the_last_safe_retained_message() -> None:
    rig = StoredRig()
    other = sender(rig)
    other.publish("c", b"safe", qos=1, retain=True, packet_id=1)
    rig.commit()
    for number, payload in enumerate((b"no", b"neither", b""), 2):
        other.publish("c", payload, qos=1, retain=True, packet_id=number)
    rig.store.refuse()
    rig.settle()
    late = rig.online("late", clean_start=True, properties=PASSING)
    late.subscribe("c")
    late.kept = []
    other.publish("d", b"no", retain=True)
    rig.store.refuse()
    assert [each.payload for each in rig.core.retained("#", rig.now)] == [b"safe"]
    rig.crash()
    assert [each.payload for each in rig.core.retained("#", rig.now)] == [b"safe"]


def test_a_full_disk_refuses_new_sessions_only() -> None:
    rig = StoredRig()
    reader(rig).hang_up()
    rig.commit()
    new = rig.connect("new", MQTT_5, properties=Properties(session_expiry_s=10))
    old = rig.connect("r", MQTT_5, clean_start=False, properties=Properties(session_expiry_s=10))
    rig.store.refuse()
    rig.settle()
    (answer,) = new.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == Reason.QUOTA_EXCEEDED
    assert new.closed
    rig.commit()
    (answer,) = old.take()
    assert isinstance(answer, ConnAck)
    assert answer.session_present


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])
def test_a_full_disk_refuses_subscriptions(version: int) -> None:
    rig = StoredRig()
    peer = rig.online("r", version)
    rig.subscribe(peer, "kept", 0)
    peer.send(Subscribe(1, (Subscription("a", 1), Subscription("kept", 1))))
    rig.store.refuse()
    rig.settle()
    (answer,) = peer.take()
    assert isinstance(answer, SubAck)
    refused = Reason.QUOTA_EXCEEDED if version == MQTT_5 else 0x80
    assert answer.codes == (refused, refused)
    assert rig.core.counters.subscriptions == 1
    other = sender(rig)
    other.publish("a", qos=1)
    other.publish("kept", qos=1)
    assert [(each.topic, each.qos) for each in peer.take() if isinstance(each, Publish)] == [
        ("kept", 0)
    ]


def test_unsubscribed_is_answered_when_it_is_safe() -> None:
    rig = StoredRig()
    peer = reader(rig)
    peer.send(Unsubscribe(2, ("a/#",)))
    assert not peer.take()
    rig.commit()
    assert peer.take()
    rig.crash()
    assert rig.core.counters.subscriptions == 0


def test_a_client_that_leaves_while_its_session_is_stored() -> None:
    rig = StoredRig()
    leaver = rig.connect("r", MQTT_5, properties=Properties(session_expiry_s=10))
    leaver.hang_up()
    rig.commit()
    rig.online("r")
    assert rig.was_present
    rig.commit()


def test_two_clients_of_one_name_while_the_session_is_stored() -> None:
    rig = StoredRig()
    properties = Properties(session_expiry_s=10)
    first = rig.connect("r", MQTT_5, clean_start=False, properties=properties)
    second = rig.connect("r", MQTT_5, clean_start=False, properties=properties)
    rig.commit()
    (answer,) = first.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == Reason.SERVER_BUSY
    assert first.closed
    (answer,) = second.take()
    assert isinstance(answer, ConnAck)
    assert (answer.code, answer.session_present) == (0, False)
    assert not second.closed


def test_a_clean_start_while_the_session_is_stored() -> None:
    rig = StoredRig()
    first = rig.connect("r", MQTT_5, properties=Properties(session_expiry_s=10))
    second = rig.connect("r", MQTT_5, clean_start=True)
    rig.commit()
    (answer,) = first.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == Reason.SERVER_BUSY
    assert first.closed
    assert not second.closed
    rig.crash()
    assert not rig.store.image.sessions


@pytest.mark.parametrize("clean_start", [True, False])
def test_a_session_that_is_not_kept_any_more_does_not_come_back(clean_start: bool) -> None:
    rig = StoredRig()
    reader(rig).hang_up()
    again = rig.connect("r", MQTT_5, clean_start=clean_start)
    assert not again.take()
    rig.commit()
    assert len(again.take()) == 1
    rig.crash()
    assert not list(rig.core._registry)
    rig.commit()
    rig.crash()
    assert not rig.store.image.sessions
    assert rig.core.counters.subscriptions == 0


def test_what_expires_while_the_broker_is_down_is_gone() -> None:
    rig = StoredRig()
    peer, other = reader(rig), sender(rig)
    peer.hang_up()
    short = Properties(message_expiry_s=10)
    other.publish("a/1", qos=1, properties=short, packet_id=1)
    other.publish("a/2", qos=1, properties=Properties(message_expiry_s=100), packet_id=2)
    other.publish("c", retain=True, properties=short)
    rig.commit()
    rig.crash(away_s=50)
    assert rig.core.retained("#", rig.now) == []
    assert rig.core.counters.dropped["expired"] == 2
    again = rig.online("r")
    (packet,) = again.take()
    assert isinstance(packet, Publish)
    assert packet.topic == "a/2"
    assert packet.properties.message_expiry_s == 50
    again.hang_up()
    rig.commit()
    rig.crash(away_s=3601)
    rig.online("r")
    assert not rig.was_present


def test_a_session_that_was_connected_lives_on_from_the_restart() -> None:
    rig = StoredRig()
    reader(rig)
    rig.crash(away_s=100_000)
    rig.commit()
    rig.crash(away_s=3599)
    rig.online("r")
    assert rig.was_present


def test_a_clock_that_was_set_back_keeps_nothing_for_ever() -> None:
    rig = StoredRig()
    reader(rig).hang_up()
    rig.commit()
    rig.crash(away_s=-500_000)
    rig.pass_time(3601)
    rig.online("r")
    assert not rig.was_present


def test_rights_that_were_revoked_while_the_broker_was_down() -> None:
    rig = StoredRig()
    peer, other = reader(rig), sender(rig)
    rig.subscribe(peer, "b", 1)
    peer.hang_up()
    other.publish("a/1", qos=1, packet_id=1)
    other.publish("b", qos=1, packet_id=2)
    rig.commit()
    rig.rules.no_subscribe.add("a/#")
    rig.crash()
    again = rig.online("r")
    assert again.messages() == [("b", b"x")]
    assert rig.core.counters.dropped["not_authorized"] == 1
    rig.commit()
    rig.crash()
    assert rig.core.counters.subscriptions == 1


@pytest.mark.parametrize("away_s", [1.0, 100.0])
def test_a_delayed_will_survives(away_s: float) -> None:
    rig = StoredRig()
    peer = reader(rig)
    properties = Properties(will_delay_s=60, message_expiry_s=500, content_type="text")
    dying = rig.online("d", will=Will("a/will", b"gone", 1, True, properties))
    dying.hang_up()
    rig.commit()
    rig.crash(away_s=away_s)
    peer = rig.online("r")
    rig.pass_time(60)
    (packet,) = peer.take()
    assert isinstance(packet, Publish)
    assert packet.payload == b"gone"
    assert packet.properties.content_type == "text"
    assert packet.properties.message_expiry_s is not None
    assert packet.properties.message_expiry_s <= 500
    rig.commit()
    assert len(rig.core.retained("a/will", rig.now)) == 1
    rig.crash()
    rig.pass_time(100)
    assert len(rig.online("r").take()) == 1, "the will is published once; its message comes again"


def test_a_will_is_taken_back_by_a_reconnect() -> None:
    rig = StoredRig()
    reader(rig)
    will = Will("a/will", b"gone", 1, properties=Properties(will_delay_s=60))
    rig.online("d", will=will).hang_up()
    rig.online("d")
    rig.crash()
    peer = rig.online("r")
    rig.pass_time(100)
    assert not peer.take()


def test_a_retained_message_for_a_stored_session_is_stored_for_it() -> None:
    rig = StoredRig()
    sender(rig).publish("a/1", b"old", qos=2, retain=True)
    rig.commit()
    peer = rig.online("r")
    rig.subscribe(peer, "a/#", 2)
    (packet,) = peer.take()
    assert isinstance(packet, Publish)
    sender(rig).publish("a/1", b"", qos=1, retain=True, packet_id=2)
    rig.commit()
    peer.hang_up()
    rig.crash()
    (again, *_) = rig.online("r").take()
    assert isinstance(again, Publish)
    assert (again.payload, again.retain, again.duplicate) == (b"old", True, True)
    assert again.packet_id == packet.packet_id


def test_retained_messages_that_were_not_sent_yet_survive() -> None:
    rig = StoredRig(Limits(in_flight=2))
    other = sender(rig)
    for number in range(1, 6):
        other.publish(f"a/{number}", qos=1, retain=True, packet_id=number)
    rig.commit()
    peer = reader(rig)
    assert len(peer.take()) == 2
    rig.crash()
    again = rig.online("r")
    topics: set[str] = set()
    while packets := [each for each in again.take() if isinstance(each, Publish)]:
        topics |= {each.topic for each in packets}
        again.send(*(PubAck(each.packet_id or 0) for each in packets))
    assert topics == {f"a/{number}" for number in range(1, 6)}
    rig.commit()
    rig.crash()
    assert not rig.online("r").take()


def test_shared_subscriptions_survive() -> None:
    rig = StoredRig()
    for name in ("one", "two"):
        rig.subscribe(rig.online(name), "$share/g/a", 1)
    rig.crash()
    other = sender(rig)
    for number in range(1, 5):
        other.publish("a", b"%d" % number, qos=1, packet_id=number)
    rig.commit()
    rig.crash()
    got = [len(rig.online(name).messages()) for name in ("one", "two")]
    assert got == [2, 2]


def test_what_a_member_left_behind_is_stored_for_the_next() -> None:
    rig = StoredRig()
    one = rig.online("one")
    rig.subscribe(one, "$share/g/a", 1)
    sender(rig).publish("a", b"1", qos=1)
    rig.commit()
    two = rig.online("two")
    rig.subscribe(two, "$share/g/a", 1)
    two.hang_up()
    one.send(Disconnect(Reason.NORMAL_DISCONNECTION, Properties(session_expiry_s=0)))
    rig.commit()
    rig.crash()
    assert rig.online("two").messages() == [("a", b"1")]


def test_many_identifiers_of_one_message() -> None:
    rig = StoredRig()
    peer = rig.online("r")
    filters = ["/".join(levels) for levels in product("a+", repeat=9)]
    for number, topic_filter in enumerate(filters, 1):
        asked = (Subscription(topic_filter, 1),)
        peer.send(Subscribe(1, asked, Properties(subscription_identifiers=(number,))))
    rig.commit()
    peer.hang_up()
    other = sender(rig)
    other.publish("/".join("a" * 9), qos=1)
    rig.commit()
    assert codes(other) == [0]
    rig.crash()
    (packet,) = rig.online("r").take()
    assert isinstance(packet, Publish)
    assert sorted(packet.properties.subscription_identifiers) == list(range(1, 513))


def test_what_the_queue_has_no_room_for_is_not_stored() -> None:
    rig = StoredRig(Limits(queued_messages=2))
    reader(rig).hang_up()
    other = sender(rig)
    other.send(*(Publish("a/b", b"%d" % each, 1, packet_id=each) for each in range(1, 6)))
    rig.commit()
    assert rig.core.counters.dropped["queue_full"] == 3
    rig.crash()
    assert not rig.core.counters.dropped["queue_full"], "they are in the store"
    assert [payload for _, payload in rig.online("r").messages()] == [b"1", b"2"]


def test_fewer_fit_after_a_restart_with_other_limits() -> None:
    rig = StoredRig()
    reader(rig).hang_up()
    other = sender(rig)
    other.send(*(Publish("a/b", b"%d" % each, 1, packet_id=each) for each in range(1, 6)))
    rig.commit()
    rig.limits = Limits(queued_messages=3)
    rig.crash()
    assert rig.core.counters.dropped["queue_full"] == 2
    rig.commit()
    rig.crash()
    (session,) = rig.store.image.sessions.values()
    assert len(session.queue) == 3


def test_a_packet_id_is_used_again_when_it_is_written_down_that_it_is_free() -> None:
    """PUBACKs, and PUBLISHes that go under their ids, come in one wake-up; the crash in between."""
    rig = StoredRig()
    peer, other = reader(rig), sender(rig)
    other.send(*(Publish("a/b", b"%d" % each, 1, packet_id=each) for each in range(1, 17)))
    rig.commit()
    used = [each.packet_id for each in peer.take() if isinstance(each, Publish)]
    more = [Publish("a/b", b"%d" % each, 1, packet_id=each) for each in range(17, 33)]
    rig.core.receive(peer.client, b"".join(b"\x40\x02%b" % _wire(each) for each in used), rig.now)
    rig.core.receive(other.client, b"".join(encode_packet(each, MQTT_5) for each in more), rig.now)
    rig.settle()
    for written in range(len(rig.store.pending) + 1):
        image = JournalState()
        for records, _, _ in [*rig.store.written, *rig.store.pending[:written]]:
            for record in records:
                image.apply(record, 1)
        (session,) = (each for each in image.sessions.values() if each.client_id == "r")
        in_flight = [packet_id for packet_id in session.queue.values() if packet_id]
        assert len(in_flight) == len(set(in_flight)), "two messages have one packet id"


def test_an_acknowledgement_of_an_unknown_message_leaves_nothing_behind() -> None:
    rig = StoredRig()
    peer, other = reader(rig), sender(rig)
    publish = encode_packet(Publish("a/b", b"1", 1, packet_id=1), MQTT_5)
    rig.core.receive(other.client, publish, rig.now)
    rig.core.receive(peer.client, b"\x40\x02\x00\x01", rig.now)
    rig.commit()
    rig.crash()
    assert not rig.store.image.messages


def _wire(packet_id: int | None) -> bytes:
    assert packet_id is not None
    return packet_id.to_bytes(2, "big")


# case G10
def test_a_local_client_learns_when_its_message_is_safe() -> None:
    rig = StoredRig()
    peer = reader(rig)
    peer.hang_up()
    rig.settle()
    told: list[bool] = []
    local = LocalClient(rig.core, "us", lambda: rig.now)
    local.submit("b", b"nobody stores it", told.append)
    assert told == [True]
    local.submit("a/b", b"1", told.append)
    assert told == [True], "not before it is on the disk"
    rig.commit()
    assert told == [True, True]
    local.submit("a/b", b"2", told.append)
    rig.store.refuse()
    assert told == [True, True, False]
    rig.crash()
    kept = rig.online("r").kept
    assert [each.payload for each in kept if isinstance(each, Publish)] == [b"1"]


# case CL4
def test_what_is_not_to_be_stored_waits_in_memory_only() -> None:
    rig = StoredRig()
    peer = reader(rig)
    local = LocalClient(rig.core, "us", lambda: rig.now)
    local.publish("a/b", b"1", qos=1, stored=False)
    rig.settle()
    assert not rig.store.pending
    assert peer.messages() == [("a/b", b"1")]
    peer.hang_up()
    rig.commit()
    local.publish("a/b", b"2", qos=1, stored=False, expiry_s=10)
    local.publish("a/b", b"3", qos=1)
    rig.commit()
    peer = rig.online("r")
    assert [each.payload for each in peer.kept if isinstance(each, Publish)] == [b"1", b"2", b"3"]
    rig.crash()
    peer = rig.online("r")
    assert [each.payload for each in peer.kept if isinstance(each, Publish)] == [b"3"]


# case G10
def test_a_session_says_whether_it_has_room() -> None:
    rig = StoredRig(Limits(in_flight=2, queued_messages=3))
    peer = reader(rig)
    local = LocalClient(rig.core, "us", lambda: rig.now)
    rooms = []
    for _ in range(6):
        rooms.append(rig.core.has_room("r", 300, rig.now))
        local.publish("a/b", b"x", qos=1)
    assert rooms == [True] * 5 + [False]
    assert rig.core.counters.dropped == {"queue_full": 1}
    assert rig.core.has_room("nobody", 1, rig.now)
    peer.hang_up()
    rig.commit()
    assert not rig.core.has_room("r", 300, rig.now)


def test_a_lower_qos_that_a_hook_grants_is_what_is_stored() -> None:
    rig = StoredRig()
    rig.core.hooks.on_subscribe(lambda _who, _asked: 0)
    peer = rig.online("r")
    peer.send(Subscribe(1, (Subscription("a/#", 1),)))
    rig.commit()
    rig.crash()
    (session,) = rig.store.image.sessions.values()
    assert session.subscriptions["a/#"].qos == 0
