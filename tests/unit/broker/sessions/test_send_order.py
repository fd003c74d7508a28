"""Messages of one sender on one topic come in the order in which they were sent, at any QoS."""

from itertools import product

import pytest

from broker.quota.counters import BrokerCounters
from broker.quota.limits import Limits
from broker.sessions.inflight import Inflight
from broker.sessions.send_order import SendOrder
from broker.wire.packets import MQTT_3_1_1, MQTT_5, PubAck, PubComp, Publish, PubRec, PubRel
from broker.wire.property_values import Properties
from tests.unit.broker.rig import Peer
from tests.unit.broker.stored_rig import StoredRig

COUNT = 12
PAYLOADS = [b"%d" % number for number in range(COUNT)]
PATTERNS = {"2 1": (2, 1), "1 2": (1, 2), "2 2 1": (2, 2, 1), "1 1 1 2": (1, 1, 1, 2)}


def acknowledge(peer: Peer, seen: list[bytes]) -> None:
    for packet in peer.take():
        if isinstance(packet, PubRel):
            peer.send(PubComp(packet.packet_id))
        elif isinstance(packet, Publish):
            assert packet.packet_id is not None
            seen.append(packet.payload)
            peer.send((PubAck if packet.qos == 1 else PubRec)(packet.packet_id))


def send(
    rig: StoredRig, sender: Peer, qoses: tuple[int, ...], *, plain: bool, at_once: bool
) -> None:
    properties = Properties() if plain or sender.version != MQTT_5 else Properties(content_type="t")
    packets = [
        Publish(
            "a", payload, qoses[number % len(qoses)], properties=properties, packet_id=number + 1
        )
        for number, payload in enumerate(PAYLOADS)
    ]
    if at_once:
        sender.send(*packets)
        return
    for packet in packets:
        sender.send(packet)
        if packet.packet_id and packet.packet_id % 3 == 0:
            rig.commit(1)


# case B11
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("where", ["away", "away and a crash", "online"])
def test_qos_1_does_not_overtake_qos_2(pattern: str, where: str) -> None:
    for version, plain, at_once, window, hot_path in product(
        (MQTT_3_1_1, MQTT_5), (True, False), (True, False), (2, 1_000), (True, False)
    ):
        rig = StoredRig(Limits(in_flight=window), hot_path=hot_path)
        peer = rig.online("r", version)
        rig.subscribe(peer, "a", 2)
        if where != "online":
            peer.hang_up()
        sender = rig.online("s", version, clean_start=True, properties=Properties())
        seen: list[bytes] = []
        send(rig, sender, PATTERNS[pattern], plain=plain, at_once=at_once)
        if where == "online":
            acknowledge(peer, seen)
        rig.commit()
        if where == "away and a crash":
            rig.crash()
        if where != "online":
            peer = rig.online("r", version)
        for _ in range(4 * COUNT):
            acknowledge(peer, seen)
            rig.commit(1)
        assert seen == PAYLOADS, (version, plain, at_once, window, hot_path)
        rig.commit()
        acknowledge(peer, seen)
        assert rig.core.admin.count().in_flight == 0


# case B11
def test_qos_1_goes_on_when_qos_2_before_it_cannot_be_stored() -> None:
    rig = StoredRig()
    peer = rig.online("r")
    rig.subscribe(peer, "a", 2)
    sender = rig.online("s", clean_start=True, properties=Properties())
    sender.send(Publish("a", b"1", 2, packet_id=1))
    sender.send(Publish("a", b"2", 1, packet_id=2))
    sender.send(Publish("a", b"3", 2, packet_id=3))
    sender.send(Publish("a", b"4", 1, packet_id=4))
    assert peer.messages() == []
    _, done, _ = group = next(each for each in rig.store.pending if each[1] is not None)
    rig.store.pending.remove(group)
    assert done is not None
    done(False)
    rig.settle()
    assert peer.messages() == [("a", b"2")]
    rig.commit()
    assert peer.messages() == [("a", b"3"), ("a", b"4")]


# case B11
def test_what_stands_behind_is_sent_once_on_the_next_connection() -> None:
    rig = StoredRig()
    peer = rig.online("r")
    rig.subscribe(peer, "a", 2)
    sender = rig.online("s", clean_start=True, properties=Properties())
    sender.send(Publish("a", b"1", 2, packet_id=1), Publish("a", b"2", 1, packet_id=2))
    peer.hang_up()
    peer = rig.online("r")
    rig.commit()
    assert peer.messages() == [("a", b"1"), ("a", b"2")]
    sender.send(Publish("a", b"3", 1, packet_id=3))
    assert peer.messages() == [("a", b"3")]


# case B11
def test_what_is_kept_back_leaves_in_order() -> None:
    packets = {b"\0\1": b"first!", b"\0\3": b"third!"}
    kept_back = SendOrder()
    kept_back.hold(b"\0\1")
    kept_back.append(b"second")
    kept_back.hold(b"\0\3")
    kept_back.append(b"fourth")
    kept_back.settle(b"\0\3")
    assert not list(kept_back.take_ready(packets))
    kept_back.settle(b"\0\1")
    assert list(kept_back.take_ready(packets)) == [b"first!", b"second", b"third!", b"fourth"]
    assert not kept_back
    kept_back.hold(b"\0\1")
    kept_back.append(b"second")
    kept_back.give_up(b"\0\1")
    kept_back.give_up(b"\0\1")
    assert list(kept_back.take_ready(packets)) == [b"second"]


# case B11
def test_a_window_that_is_full_keeps_nothing_back() -> None:
    inflight = Inflight(BrokerCounters(), 1_000, 10_000)
    inflight.resume(1, {})
    sent: list[bytes] = []
    inflight.open(sent.append)
    packet_id = inflight.take_qos2((b"2", b""))
    assert packet_id is not None
    assert inflight.take_qos2((b"2", b"")) is None
    assert not inflight.offer([(b"1", b"")])
    inflight.send_taken(packet_id, sent.append)
    assert sent == [b"2" + packet_id]
    assert inflight._append == sent.append
