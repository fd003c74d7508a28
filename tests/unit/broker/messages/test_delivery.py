"""A message's remaining life never grows: by a clock that is set, a restart, a repetition."""

import pytest

from broker.wire.packets import MQTT_5, Disconnect, PubComp, Publish, PubRec, PubRel
from broker.wire.property_values import Properties
from tests.unit.broker.rig import Peer, Rig, will
from tests.unit.broker.stored_rig import StoredRig

TWO_DAYS_S = 172_800.0
STAYS = Properties(session_expiry_s=10 * 86_400)
MINUTE = Properties(message_expiry_s=60)

steps = pytest.mark.parametrize("step_s", [-TWO_DAYS_S, TWO_DAYS_S, -1e9, 0.0])


def remaining_life(peer: Peer) -> list[int | None]:
    packets = peer.take()
    return [each.properties.message_expiry_s for each in packets if isinstance(each, Publish)]


def reader(rig: StoredRig, qos: int = 1) -> Peer:
    peer = rig.online("r", properties=STAYS)
    rig.subscribe(peer, "a", qos)
    return peer


def publish(rig: StoredRig, topic: str, properties: Properties = MINUTE) -> None:
    sender = rig.online("s", clean_start=True, properties=Properties())
    sender.send(Publish(topic, b"x", 1, topic == "kept", properties=properties, packet_id=1))
    rig.commit()
    sender.send(Disconnect())


def set_back(rig: StoredRig, by_s: float, when: str) -> None:
    """Set the clock back while the broker is down, or before it is killed."""
    if when == "while it runs":
        rig.set_wall(by_s)
        rig.pass_time(1)
        rig.commit()
        rig.crash()
        return
    rig.set_wall(by_s)
    rig.crash()


# case B8
@pytest.mark.parametrize("when", ["while it runs", "while it is down"])
@pytest.mark.parametrize("by_s", [-TWO_DAYS_S, -1e9, -1.5])
def test_a_clock_that_is_set_back_gives_no_life(by_s: float, when: str) -> None:
    rig = StoredRig()
    reader(rig).hang_up()
    publish(rig, "a")
    publish(rig, "kept")
    set_back(rig, by_s, when)
    peer = rig.online("r", properties=STAYS)
    rig.commit()
    (left,) = remaining_life(peer)
    assert left is not None
    assert 55 <= left <= 60
    rig.subscribe(peer, "kept")
    rig.commit()
    (left,) = remaining_life(peer)
    assert left is not None
    assert 55 <= left <= 60


# case B8
def test_what_was_lived_before_the_clock_was_set_back_counts() -> None:
    rig = StoredRig()
    reader(rig).hang_up()
    publish(rig, "a")
    for _ in range(50):
        rig.pass_time(1)
    publish(rig, "another", Properties(message_expiry_s=5))
    rig.pass_time(5)
    rig.core.shut_down(rig.now)
    rig.commit()
    set_back(rig, -TWO_DAYS_S, "while it is down")
    peer = rig.online("r", properties=STAYS)
    rig.commit()
    assert remaining_life(peer) == [5]


# case B8
def test_after_a_power_cut_and_a_clock_set_back_a_minute_may_be_lived_again() -> None:
    rig = StoredRig()
    reader(rig).hang_up()
    publish(rig, "a", Properties(message_expiry_s=1_000))
    for _ in range(300):
        rig.pass_time(1)
    rig.commit()
    set_back(rig, -TWO_DAYS_S, "while it is down")
    peer = rig.online("r", properties=STAYS)
    rig.commit()
    (left,) = remaining_life(peer)
    assert left is not None
    assert 700 <= left <= 760


# case B8
@pytest.mark.parametrize("by_s", [-TWO_DAYS_S, TWO_DAYS_S, 0.0])
def test_as_long_as_the_machine_runs_only_time_counts(by_s: float) -> None:
    rig = StoredRig()
    rig.boot = "one"
    rig.crash()
    reader(rig).hang_up()
    rig.online("short", properties=Properties(session_expiry_s=100)).hang_up()
    publish(rig, "a")
    rig.pass_time(15)
    rig.set_wall(by_s)
    rig.crash(away_s=25)
    assert rig.core.admin.count().away == 2
    peer = rig.online("r", properties=STAYS)
    rig.commit()
    assert remaining_life(peer) == [20]
    rig.boot = "two"
    rig.crash(away_s=70)
    assert rig.core._registry.get("short") is None


# case B8
def test_a_time_since_the_start_that_is_too_short_is_not_believed() -> None:
    """As of a virtual machine that was put back to an earlier state."""
    rig = StoredRig()
    rig.boot = "one"
    rig.crash()
    reader(rig).hang_up()
    publish(rig, "a")
    rig.now -= 500
    rig.set_wall(530)
    rig.crash()
    peer = rig.online("r", properties=STAYS)
    rig.commit()
    assert remaining_life(peer) == [30]


# case B8
def test_a_clock_that_is_set_forward_while_the_broker_runs_takes_no_life() -> None:
    """As on a board without a clock, which learns the time from the network."""
    rig = StoredRig()
    rig.online("r", properties=Properties(session_expiry_s=600)).hang_up()
    reader(rig).hang_up()
    publish(rig, "a")
    rig.set_wall(1e9)
    rig.pass_time(10)
    rig.commit()
    rig.crash(away_s=20)
    peer = rig.online("r", properties=STAYS)
    assert rig.was_present
    rig.commit()
    assert remaining_life(peer) == [30]


# case B8
@steps
def test_sessions_and_wills_live_no_longer(step_s: float) -> None:
    rig = StoredRig()
    watcher = rig.online("watcher", properties=STAYS)
    rig.subscribe(watcher, "will")
    watcher.hang_up()
    rig.online("short", properties=Properties(session_expiry_s=600)).hang_up()
    dying = rig.online("dying", properties=STAYS, will=will(delay_s=100, qos=1))
    dying.hang_up()
    rig.commit()
    rig.set_wall(step_s)
    rig.pass_time(1)
    rig.commit()
    rig.set_wall(-step_s)
    rig.crash()
    rig.pass_time(98)
    watcher = rig.online("watcher", properties=STAYS)
    rig.commit()
    if step_s >= 0:
        assert watcher.messages() == []
    rig.pass_time(2)
    rig.commit()
    if step_s >= 0:
        assert len(watcher.messages()) == 1
    assert rig.core.admin.count().away <= 2
    rig.pass_time(500)
    assert rig.core._registry.get("short") is None


# case B8
@steps
def test_many_starts_and_steps_never_add_life(step_s: float) -> None:
    rig = StoredRig()
    reader(rig).hang_up()
    publish(rig, "a", Properties(message_expiry_s=10_000))
    last = 10_000
    for number in range(5):
        rig.set_wall(step_s if number % 2 else -step_s)
        rig.crash()
        session = rig.core._registry.get("r")
        if session is None or not session.waiting:
            assert step_s, "a step forward while it is down cannot be told from time"
            return
        left = session._queue.messages[0].message.expires_at
        assert left is not None
        assert left - rig.now <= last + 0.001
        last = round(left - rig.now)
        rig.commit()


# case B8
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_message_that_is_sent_again_has_less_life_left(qos: int, restarts: bool) -> None:
    rig = StoredRig()
    peer = reader(rig, qos)
    sender = rig.online("s", clean_start=True, properties=Properties())
    sender.send(*(Publish("a", b"x", qos, properties=MINUTE, packet_id=each) for each in (1, 2)))
    rig.commit()
    assert remaining_life(peer) == [60, 60]
    rig.pass_time(20)
    peer.hang_up()
    rig.commit()
    if restarts:
        rig.crash()
    rig.pass_time(20)
    peer = rig.online("r", properties=STAYS)
    first, second = (each for each in peer.take() if isinstance(each, Publish))
    assert first.properties.message_expiry_s == second.properties.message_expiry_s == 20
    assert first.duplicate
    assert (first.packet_id, second.packet_id) == (1, 2)
    assert first.payload == b"x"
    rig.pass_time(50)
    peer.hang_up()
    rig.commit()
    peer = rig.online("r", properties=STAYS)
    assert remaining_life(peer) == [0, 0]


# case B8
def test_a_packet_id_that_is_used_again_has_the_life_of_its_message() -> None:
    rig = Rig()
    peer = rig.online("r", MQTT_5, clean_start=False, properties=STAYS)
    peer.subscribe("a", 2)
    sender = rig.online("s", MQTT_5)
    for number, properties in enumerate((MINUTE, Properties(), Properties(content_type="t"))):
        for _ in range(16):  # as many ids as are made at a time
            sender.send(Publish("a", b"%d" % number, 2, properties=properties, packet_id=1))
            sender.send(PubRel(1))
            (packet,) = (each for each in peer.take() if isinstance(each, Publish))
            assert packet.packet_id is not None
            if number < 2:
                peer.send(PubRec(packet.packet_id))
                peer.take()
                peer.send(PubComp(packet.packet_id))
    peer.hang_up()
    rig.pass_time(30)
    peer = rig.online("r", MQTT_5, clean_start=False, properties=STAYS)
    packets = [each for each in peer.take() if isinstance(each, Publish)]
    assert [each.payload for each in packets] == [b"2"] * 16
    assert {each.properties.message_expiry_s for each in packets} == {None}
