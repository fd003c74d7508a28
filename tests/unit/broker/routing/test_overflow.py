"""A session that cannot take its messages in time, with and without fast paths."""

import pytest

from broker.messages import overflow
from broker.policy import Overflow, OverflowRule
from broker.quota.limits import Limits
from broker.wire.packets import MQTT_3_1_1, MQTT_5, PubAck, Publish
from broker.wire.property_values import Properties
from tests.unit.broker.rig import Peer, Rig
from tests.unit.broker.stored_rig import StoredRig

HIGH, LOW, WINDOW = 8, 4, 2


@pytest.fixture(autouse=True)
def _small_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "HIGH", HIGH)
    monkeypatch.setattr(overflow, "LOW", LOW)


def make(
    rule: Overflow, *, hot_path: bool = True, queued: int = 100, version: int = MQTT_5
) -> tuple[Rig, Peer, Peer]:
    """Return a consumer that acknowledges nothing by itself, and a publisher."""
    rig = Rig(Limits(queued_messages=queued), hot_path=hot_path)
    rig.overflow = OverflowRule(rule, 10.0)
    consumer = rig.online(
        "c", MQTT_5, clean_start=False,
        properties=Properties(receive_maximum=WINDOW, session_expiry_s=1_000),
    )  # fmt: skip
    consumer.subscribe("t/#", 1)
    rig.overflow = None
    return rig, consumer, rig.online("p", version)


def publish(peer: Peer, first: int, last: int) -> None:
    peer.send(*(Publish(f"t/{n % 3}", b"%d" % n, 1, packet_id=n) for n in range(first, last + 1)))


def acked(peer: Peer) -> list[int]:
    return [each.packet_id for each in peer.take() if isinstance(each, PubAck)]


def drain(consumer: Peer) -> list[int]:
    """Acknowledge all that has come; return the numbers of the messages."""
    got = [each for each in consumer.take() if isinstance(each, Publish)]
    consumer.send(*(PubAck(each.packet_id or 0) for each in got))
    return [int(each.payload) for each in got]


@pytest.mark.parametrize("hot_path", [True, False])
@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])
def test_publishers_wait_for_a_slow_session(hot_path: bool, version: int) -> None:
    rig, consumer, publisher = make(Overflow.SLOW, hot_path=hot_path, version=version)
    publish(publisher, 1, WINDOW + HIGH)
    assert acked(publisher) == list(range(1, WINDOW + HIGH + 1))
    publish(publisher, 11, 14)
    publish(publisher, 15, 16)
    assert acked(publisher) == []
    status = rig.core.admin.queue("c")
    assert status is not None
    assert (status.held, status.waiting, status.state) == (6, HIGH + 6, "holding")
    handled, answers = [], []
    while numbers := drain(consumer):
        handled += numbers
        answers += acked(publisher)
    assert handled == list(range(1, 17)), "lost or out of order"
    assert answers == list(range(11, 17))
    publish(publisher, 17, 18)
    assert acked(publisher) == [17, 18]


@pytest.mark.parametrize("hot_path", [True, False])
def test_a_dead_session_stops_nobody(hot_path: bool) -> None:
    rig, consumer, publisher = make(Overflow.SLOW, hot_path=hot_path, queued=20)
    publish(publisher, 1, 10)
    publish(publisher, 11, 12)
    acked(publisher)
    rig.pass_time(9.0)
    assert acked(publisher) == []
    rig.pass_time(1.5)
    assert acked(publisher) == [11, 12]
    publish(publisher, 13, 30)
    assert acked(publisher) == list(range(13, 31))
    status = rig.core.admin.queue("c")
    assert status is not None
    assert (status.state, status.dropped, status.waiting) == ("dropping", 30 - 20 - WINDOW, 20)
    assert rig.core.counters.dropped["queue_full"] == status.dropped
    handled = []
    while numbers := drain(consumer):
        handled += numbers
    assert handled == list(range(1, 23))
    publish(publisher, 31, 45)
    publish(publisher, 46, 46)
    assert 46 not in acked(publisher), "it does not hold again"


@pytest.mark.parametrize("hot_path", [True, False])
@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (Overflow.DROP_OLDEST, [1, 2, *range(21, 31)]),
        (Overflow.DROP_NEWEST, list(range(1, 13))),
    ],
)
def test_rules_that_drop(rule: Overflow, kept: list[int], hot_path: bool) -> None:
    rig, consumer, publisher = make(rule, hot_path=hot_path, queued=10)
    publish(publisher, 1, 30)
    assert acked(publisher) == list(range(1, 31))
    status = rig.core.admin.queue("c")
    assert status is not None
    assert (status.dropped, status.waiting) == (30 - 10 - WINDOW, 10)
    handled = []
    while numbers := drain(consumer):
        handled += numbers
    assert handled == kept


def test_a_session_that_ends_releases_its_publishers() -> None:
    rig, _, publisher = make(Overflow.SLOW)
    publish(publisher, 1, 10)
    publish(publisher, 11, 14)
    acked(publisher)
    rig.core.admin.disconnect("c", rig.now)
    rig.settle()
    assert acked(publisher) == [11, 12, 13, 14]


def test_a_session_does_not_wait_for_itself() -> None:
    rig, consumer, publisher = make(Overflow.SLOW)
    publish(publisher, 1, 10)
    drained = consumer.take()
    assert drained
    consumer.send(Publish("t/0", b"0", 1, packet_id=7))
    assert [e.packet_id for e in consumer.take() if isinstance(e, PubAck)] == [7]
    assert rig.core.admin.queue("c").held == 0  # type: ignore[union-attr]  # it is there


def test_other_receivers_and_publishers_are_not_concerned() -> None:
    rig, _, publisher = make(Overflow.SLOW)
    other = rig.online("o", MQTT_5)
    other.subscribe("u", 1)
    publish(publisher, 1, 12)
    acked(publisher)
    publisher.send(Publish("u", b"", 1, packet_id=100))
    third = rig.online("q", MQTT_5)
    third.send(Publish("u", b"", 1, packet_id=1))
    assert acked(third) == [1]
    assert len(other.messages()) == 2


@pytest.mark.parametrize("hot_path", [True, False])
def test_a_burst_of_an_old_client_waits_in_its_socket(hot_path: bool) -> None:
    """MQTT 3.1.1 knows no Receive Maximum: a client with too many held messages is not read."""
    holds = 10
    rig = Rig(Limits(queued_messages=1_000, holds=holds), hot_path=hot_path)
    rig.overflow = OverflowRule(Overflow.SLOW, 10.0)
    consumer = rig.online(
        "c", MQTT_5, clean_start=False,
        properties=Properties(receive_maximum=WINDOW, session_expiry_s=1_000),
    )  # fmt: skip
    consumer.subscribe("t/#", 1)
    rig.overflow = None
    publisher = rig.online("p", MQTT_3_1_1)
    for first in range(1, 500, 5):  # as reads of a socket bring them
        publish(publisher, first, first + 4)
    status = rig.core.admin.queue("c")
    assert status is not None
    assert status.waiting <= HIGH + holds + 5
    assert not publisher.reads
    handled = []
    while numbers := drain(consumer):
        handled += numbers
    assert handled == list(range(1, 501)), "lost or out of order"
    assert acked(publisher) == list(range(1, 501))
    assert publisher.reads


@pytest.mark.parametrize("hot_path", [True, False])
def test_an_acknowledgement_waits_for_the_store_and_for_the_session(hot_path: bool) -> None:
    rig = StoredRig(hot_path=hot_path)
    rig.overflow = OverflowRule(Overflow.SLOW, 10.0)
    consumer = rig.online(
        "c", properties=Properties(receive_maximum=WINDOW, session_expiry_s=1_000)
    )
    rig.subscribe(consumer, "t/#")
    rig.overflow = None
    publisher = rig.online("p")
    publish(publisher, 1, WINDOW + HIGH)
    rig.commit()
    assert acked(publisher) == list(range(1, WINDOW + HIGH + 1))
    publish(publisher, 11, 12)
    rig.commit()
    assert acked(publisher) == [], "it is safe, but the session does not keep up"
    drain(consumer)
    assert acked(publisher) == [11, 12]
    publish(publisher, 13, 14)
    handled = drain(consumer)
    assert acked(publisher) == [], "it is handled, but not safe"
    rig.crash(written=1_000)
    rig.overflow = OverflowRule(Overflow.SLOW, 10.0)
    again = rig.online("c", properties=Properties(receive_maximum=100, session_expiry_s=1_000))
    rig.commit()
    left = [int(each.payload) for each in again.take() if isinstance(each, Publish)]
    assert left[-4:] == [11, 12, 13, 14]
    assert handled[-1] < left[-1]
