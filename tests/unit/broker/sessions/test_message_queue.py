"""Expired messages make room before a new one is refused."""

import pytest

from broker.quota.limits import Limits
from broker.wire.packets import (
    MQTT_5,
    ConnAck,
    PubAck,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import Peer, Rig
from tests.unit.broker.stored_rig import StoredRig

STAYS = Properties(session_expiry_s=1000)
SOON = Properties(message_expiry_s=1)

rigs = pytest.mark.parametrize("made", [Rig, StoredRig])


def commit(rig: Rig) -> None:
    rig.settle()
    if isinstance(rig, StoredRig):
        rig.commit()


def online(rig: Rig, name: str, *, stays: bool = True) -> Peer:
    properties = STAYS if stays else Properties()
    peer = rig.connect(name, MQTT_5, clean_start=not stays, properties=properties)
    commit(rig)
    answer, *peer.kept = peer.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == 0
    return peer


def subscribed(rig: Rig, name: str, topic: str, qos: int = 1) -> Peer:
    peer = online(rig, name)
    peer.send(Subscribe(1, (Subscription(topic, qos),)))
    commit(rig)
    peer.take()
    return peer


def fill(rig: Rig, topic: str, count: int, qos: int = 1, *, soon: bool = True) -> None:
    sender = online(rig, "filler", stays=False)
    properties = SOON if soon else Properties()
    packets = [
        Publish(topic, bytes(500), qos, properties=properties, packet_id=number)
        for number in range(1, count + 1)
    ]
    sender.send(*packets)
    commit(rig)
    sender.hang_up()


def payloads(peer: Peer) -> list[bytes]:
    return [each.payload for each in peer.take() if isinstance(each, Publish)]


# case B6
@rigs
@pytest.mark.parametrize(
    "limits",
    [
        Limits(queued_messages=10),
        Limits(queued_bytes=5_000),
        Limits(queued_bytes_total=15_000),
    ],
    ids=["messages", "bytes", "total"],
)
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("plain", [True, False])
def test_expired_messages_of_a_session_make_room(
    made: type[Rig], limits: Limits, qos: int, plain: bool
) -> None:
    rig = made(limits)
    subscribed(rig, "r", "a", qos).hang_up()
    fill(rig, "a", 100)
    assert rig.core.counters.dropped["queue_full"], "it is full"
    dropped = rig.core.counters.dropped["queue_full"]
    rig.pass_time(3)
    sender = online(rig, "s", stays=False)
    properties = Properties() if plain else Properties(content_type="text")
    for number in range(1, 6):  # a burst
        sender.send(Publish("a", b"%d" % number, qos, properties=properties, packet_id=number))
    commit(rig)
    answers = [each.reason for each in sender.take() if isinstance(each, PubAck | PubRec)]
    assert answers == [Reason.SUCCESS] * 5
    assert rig.core.counters.dropped["queue_full"] == dropped
    again = online(rig, "r")
    commit(rig)
    assert payloads(again) == [b"1", b"2", b"3", b"4", b"5"]


# case B6
@rigs
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("plain", [True, False])
def test_expired_messages_of_others_make_room(made: type[Rig], qos: int, plain: bool) -> None:
    """Also for a client that is there and has nothing in flight: no answer would go on with it."""
    rig = made(Limits(queued_bytes_total=20_000))
    for number in range(20):  # each takes half of what is left
        subscribed(rig, f"full {number}", f"b/{number}").hang_up()
        fill(rig, f"b/{number}", 40)
    reader = subscribed(rig, "r", "a", qos)
    dropped = rig.core.counters.dropped["queue_full"]
    rig.core.counters.queued_bytes += 1_000  # the last bytes, which no message fits
    rig.pass_time(3)
    sender = online(rig, "s", stays=False)
    properties = Properties() if plain else Properties(content_type="text")
    packets = [
        Publish("a", b"%d" % number, qos, properties=properties, packet_id=number)
        for number in range(1, 6)
    ]
    sender.send(*packets)
    commit(rig)
    assert payloads(reader) == [b"1", b"2", b"3", b"4", b"5"]
    assert rig.core.counters.dropped["queue_full"] == dropped
    assert rig.core.counters.dropped["expired"] >= 20


# case B6
@rigs
def test_expired_messages_make_room_for_packet_ids(made: type[Rig]) -> None:
    rig = made(Limits(queued_bytes_total=20_000))
    for number in range(20):
        subscribed(rig, f"full {number}", f"b/{number}").hang_up()
        fill(rig, f"b/{number}", 40)
    rig.core.counters.queued_bytes += 1_000
    rig.pass_time(3)
    sender = online(rig, "s", stays=False)
    sender.send(*(Publish("nobody", b"", 2, packet_id=number) for number in range(1, 4)))
    commit(rig)
    answers = [each.reason for each in sender.take() if isinstance(each, PubRec)]
    assert max(answers) < Reason.UNSPECIFIED_ERROR
    sender.send(PubRel(1))


# case B6
@rigs
@pytest.mark.parametrize(
    "limits",
    [Limits(retained_messages=10), Limits(retained_bytes=10_000)],
    ids=["messages", "bytes"],
)
@pytest.mark.parametrize("plain", [True, False])
def test_expired_retained_messages_make_room(made: type[Rig], limits: Limits, plain: bool) -> None:
    rig = made(limits)
    sender = online(rig, "s", stays=False)
    for number in range(1, 30):
        sender.send(Publish(f"r/{number}", bytes(700), 1, True, properties=SOON, packet_id=number))
    commit(rig)
    assert rig.core.counters.dropped["retained_full"], "it is full"
    sender.take()
    rig.now += 3  # no tick has looked
    properties = Properties() if plain else Properties(content_type="text")
    for number in range(1, 6):
        sender.send(Publish(f"n/{number}", b"x", 1, True, properties=properties, packet_id=number))
    sender.send(Publish("n/6", bytes(7_000), 1, True, packet_id=6))
    commit(rig)
    answers = [each.reason for each in sender.take() if isinstance(each, PubAck)]
    assert max(answers) < Reason.UNSPECIFIED_ERROR
    assert len(rig.core.retained("n/#", rig.now)) == 6


# case B6
def test_notes_of_when_retained_messages_expire_are_bounded() -> None:
    rig = Rig()
    sender = online(rig, "s", stays=False)
    for number in range(2_000):
        soon = Properties(message_expiry_s=1 + number % 7)
        sender.send(Publish("r", b"x", retain=True, properties=soon))
    assert len(rig.core._retained.store._expiries) < 100


# case B6
@rigs
def test_sessions_that_are_over_make_room_for_sessions(made: type[Rig]) -> None:
    rig = made(Limits(stored_sessions=5))
    for number in range(5):
        online(rig, f"{number}").hang_up()
    refused = rig.connect("r", MQTT_5, properties=STAYS)
    (answer,) = refused.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == Reason.QUOTA_EXCEEDED
    rig.now += 2_000  # no tick has looked
    online(rig, "r")


# case B6
def test_sessions_that_are_over_make_room_for_subscriptions() -> None:
    rig = Rig(Limits(subscriptions_bytes=10_000))
    full = online(rig, "full")
    for number in range(200):
        full.send(Subscribe(1, (Subscription(f"a/{number}"),)))
    full.hang_up()
    peer = online(rig, "r", stays=False)
    peer.send(Subscribe(1, (Subscription("b"),)))
    assert peer.take() == [SubAck(1, (Reason.QUOTA_EXCEEDED,))]
    rig.now += 2_000  # no tick has looked
    peer.send(Subscribe(1, (Subscription("b"),)))
    assert peer.take() == [SubAck(1, (0,))]


# case B6
def test_what_waits_is_not_searched_for_each_refusal() -> None:
    rig = Rig(Limits(queued_messages=10))
    subscribed(rig, "r", "a").hang_up()
    fill(rig, "a", 10)
    session = rig.core._registry.get("r")
    assert session is not None
    rig.now += 1.5
    session.drop_expired(rig.now)
    assert session.waiting == 0
    fill(rig, "a", 10, soon=False)
    looked: list[float] = []
    session._drop_expired_of_all = looked.append
    fill(rig, "a", 100, soon=False)
    assert not looked, "the total is not what is full"
    assert session.waiting == 10


# case B6
def test_expired_messages_leave_a_full_disk() -> None:
    rig = StoredRig()
    subscribed(rig, "r", "a").hang_up()
    fill(rig, "a", 10)
    rig.pass_time(3)
    assert rig.core.admin.count().waiting == 10
    sender = online(rig, "s", stays=False)
    sender.send(Publish("a", b"x", 1, packet_id=1))
    rig.store.refuse()
    rig.settle()
    rig.pass_time(1)
    assert rig.core.admin.count().waiting <= 1
    rig.commit()
    rig.crash()
    assert not rig.store.image.messages
