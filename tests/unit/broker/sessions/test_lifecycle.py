"""Sessions resumed in every way: all that was acknowledged is delivered, in order."""

from dataclasses import dataclass
from itertools import product

import pytest

from broker.quota.limits import Limits
from broker.wire.packets import (
    MQTT_3_1,
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Disconnect,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    Subscribe,
    Subscription,
)
from broker.wire.property_values import NEVER_EXPIRES, NO_PROPERTIES, Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import Peer, Rig
from tests.unit.broker.stored_rig import StoredRig

EXPIRIES = (None, 0, 100, NEVER_EXPIRES)
PAYLOADS = [b"%d" % number for number in range(6)]


@dataclass(frozen=True)
class Way:
    """Back to a session: from which version to which, with what in flight."""

    old: int
    new: int
    expiry_s: int | None  # of the second CONNECT
    qos: int
    phase: str
    takes_over: bool


WAYS = [
    Way(old, new, expiry_s, qos, phase, takes_over)
    for old, new, expiry_s, qos, phase, takes_over in product(
        (MQTT_3_1, MQTT_3_1_1, MQTT_5),
        (MQTT_3_1, MQTT_3_1_1, MQTT_5),
        EXPIRIES,
        (1, 2),
        ("waiting", "in flight", "released"),
        (False, True),
    )
    if not (expiry_s is not None and new != MQTT_5)
    if not (phase == "released" and qos == 1)
    if not (MQTT_3_1 in {old, new} and qos == 1)
]


def commit(rig: Rig) -> None:
    rig.settle()
    if isinstance(rig, StoredRig):
        rig.commit()


def connect(rig: Rig, version: int, expiry_s: int | None = None) -> tuple[Peer, bool]:
    properties = NO_PROPERTIES if expiry_s is None else Properties(session_expiry_s=expiry_s)
    peer = rig.connect("r", version, clean_start=False, properties=properties)
    commit(rig)
    answer, *peer.kept = peer.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == 0
    return peer, answer.session_present


def send_all(rig: Rig, qos: int) -> None:
    """Send the messages; all of them are acknowledged."""
    sender = rig.connect("s", MQTT_5)
    for number, payload in enumerate(PAYLOADS, 1):
        sender.send(Publish("a", payload, 1 + (qos + number) % 2, packet_id=number))
    commit(rig)
    answers = [each for each in sender.take() if isinstance(each, PubAck | PubRec)]
    assert [each.reason for each in answers] == [Reason.SUCCESS] * len(PAYLOADS)
    sender.hang_up()


def read_all(rig: Rig, peer: Peer) -> list[bytes]:
    """Acknowledge all that comes; return the messages, each once."""
    seen: list[bytes] = []
    open_ids: set[int] = set()
    while packets := peer.take():
        for packet in packets:
            if isinstance(packet, Publish):
                assert packet.packet_id is not None
                if packet.packet_id not in open_ids:
                    seen.append(packet.payload)
                if packet.qos == 1:
                    peer.send(PubAck(packet.packet_id))
                else:
                    open_ids.add(packet.packet_id)
                    peer.send(PubRec(packet.packet_id))
            elif isinstance(packet, PubRel):
                open_ids.discard(packet.packet_id)
                peer.send(PubComp(packet.packet_id))
        commit(rig)
    return seen


def leave(peer: Peer, way: Way) -> None:
    if not way.takes_over and not peer.closed:
        peer.hang_up()


def prepare(rig: Rig, way: Way) -> Peer:
    """Subscribe, and let messages wait or be half handed over; return who did."""
    peer, present = connect(rig, way.old, 1000 if way.old == MQTT_5 else None)
    assert present is False
    peer.send(Subscribe(1, (Subscription("a", way.qos),)))
    commit(rig)
    peer.take()
    if way.phase == "waiting":
        rig.core.pause(peer.client)  # else what is taken over would be in flight
        leave(peer, way)
    send_all(rig, way.qos)
    if way.phase == "released":
        for packet in peer.take():
            if isinstance(packet, Publish) and packet.qos > 1:
                assert packet.packet_id is not None
                peer.send(PubRec(packet.packet_id))
        commit(rig)
    leave(peer, way)
    return peer


def check(rig: Rig, way: Way, *, restarts: bool) -> None:
    before = prepare(rig, way)
    if restarts:
        assert isinstance(rig, StoredRig)
        rig.crash()
    peer, present = connect(rig, way.new, way.expiry_s)
    assert present is (way.new != MQTT_3_1), "3.1 cannot be told"
    expected = list(PAYLOADS)
    if way.phase == "released":  # those came, and only their PUBRELs are due
        expected = [each for number, each in enumerate(PAYLOADS, 1) if not (2 + number) % 2]
    assert read_all(rig, peer) == expected
    assert before.closed or restarts
    send_all(rig, way.qos)
    assert read_all(rig, peer) == PAYLOADS
    assert not peer.closed
    assert rig.core.counters.queued_bytes == 0
    assert not rig.core.counters.dropped
    if way.new == MQTT_5:
        peer.send(Disconnect())
    else:
        peer.hang_up()
    commit(rig)
    is_kept = way.new != MQTT_5 or bool(way.expiry_s)
    if isinstance(rig, StoredRig):
        rig.crash()
        assert len(rig.store.image.sessions) == is_kept
    assert (rig.core.admin.count().away == 1) is is_kept


# case B1
@pytest.mark.parametrize("phase", ["waiting", "in flight", "released"])
@pytest.mark.parametrize("durability", ["memory", "stored", "restarted"])
@pytest.mark.parametrize("hot_path", [True, False])
def test_a_resumed_session_is_there_and_loses_nothing(
    phase: str, durability: str, hot_path: bool
) -> None:
    for way in WAYS:
        if way.phase != phase or (durability == "restarted" and way.takes_over):
            continue
        rig = Rig(hot_path=hot_path) if durability == "memory" else StoredRig(hot_path=hot_path)
        try:
            check(rig, way, restarts=durability == "restarted")
        except AssertionError as exc:
            raise AssertionError(f"{way}: {exc}") from exc


# case B1
@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_crash_before_the_session_without_an_expiry_is_answered(written: int) -> None:
    """As long as nothing is written down, the session is kept as long as it was to be before."""
    rig = StoredRig()
    prepare(rig, Way(MQTT_5, MQTT_5, None, 2, "waiting", False))
    rig.connect("r", MQTT_5, clean_start=False)
    rig.crash(written)
    peer, present = connect(rig, MQTT_5)
    assert present is (written == 0)
    if present:
        assert read_all(rig, peer) == PAYLOADS


# case B1
def test_the_second_of_two_that_come_at_once_may_want_the_session_kept() -> None:
    rig = StoredRig()
    prepare(rig, Way(MQTT_5, MQTT_5, None, 2, "waiting", False))
    first = rig.connect("r", MQTT_5, clean_start=False)
    second, present = connect(rig, MQTT_5, 1000)
    assert first.closed
    assert present
    second.hang_up()
    rig.commit()
    rig.crash()
    peer, present = connect(rig, MQTT_5, 1000)
    assert present
    assert read_all(rig, peer) == PAYLOADS


# case B1
def test_one_that_breaks_off_does_not_end_the_session_of_the_next() -> None:
    rig = StoredRig()
    prepare(rig, Way(MQTT_5, MQTT_5, None, 2, "waiting", False))
    first = rig.connect("r", MQTT_5, clean_start=False)
    second = rig.connect("r", MQTT_5, clean_start=False)
    first.hang_up()
    rig.commit()
    answer, *second.kept = second.take()
    assert isinstance(answer, ConnAck)
    assert answer.session_present
    assert read_all(rig, second) == PAYLOADS


# case B1
def test_one_that_breaks_off_does_not_date_the_session_of_the_next() -> None:
    rig = StoredRig(Limits(session_expiry_s=1000))
    prepare(rig, Way(MQTT_5, MQTT_5, None, 1, "waiting", False))
    asked = Properties(session_expiry_s=100)
    first = rig.connect("r", MQTT_5, clean_start=False, properties=asked)
    rig.connect("r", MQTT_5, clean_start=False, properties=asked)
    first.hang_up()
    rig.commit()
    rig.now += 500
    rig.crash(away_s=50)
    _, present = connect(rig, MQTT_5, 100)
    assert present, "it was connected until the crash"


# case B8
def test_a_disconnect_that_prolongs_the_session_is_remembered() -> None:
    rig = StoredRig()
    peer, _ = connect(rig, MQTT_5, 10)
    peer.send(Disconnect(properties=Properties(session_expiry_s=1000)))
    rig.commit()
    rig.crash(away_s=5)
    rig.pass_time(500)
    _, present = connect(rig, MQTT_5, 10)
    assert present
