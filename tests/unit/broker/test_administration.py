"""Rights asked again, after a reload and at the start: what is denied goes, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.core import Core
from broker.messages.message import Message
from broker.policy import Identity
from broker.quota.limits import Limits
from broker.wire.packets import MQTT_5, Connect, PubAck, Publish, Subscribe, Subscription
from broker.wire.property_values import Properties
from tests.unit.broker.rig import Peer, Rig, Rules
from tests.unit.broker.routing.test_access_check import Changing
from tests.unit.broker.stored_rig import StoredRig

if TYPE_CHECKING:
    from tests.integration.broker.journal.simdisk import Snapshot

ALL = "user root\ntopic #\nuser anna\ntopic #\n"
STAYS = Properties(session_expiry_s=1000)
TIGHT = Limits(in_flight=1, queued_bytes=1_000_000, queued_bytes_total=2_000_000)


class Knowing(Changing):
    """An access list that knows some identities."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.gone: set[str] = set()
        self.unsure: set[str] = set()
        self.asked: list[Identity] = []

    def may_publish(self, identity: Identity, topic: str) -> bool:
        self.asked.append(identity)
        return super().may_publish(identity, topic)

    def knows(self, identity: Identity) -> bool | None:
        return None if identity.name in self.unsure else identity.name not in self.gone


class Picky(Rules):
    """Rules by which anna may subscribe to nothing, from some time on."""

    is_on = False

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:  # noqa: ARG002
        return not (self.is_on and identity.name == "anna")


class ListedAndStored(StoredRig):
    """A stored rig with an access list."""

    def __init__(self) -> None:
        self.list = Knowing(ALL)
        super().__init__()

    def _start(self, snapshot: Snapshot) -> None:
        self.rules = self.list  # type: ignore[assignment]  # it is asked instead
        super()._start(snapshot)

    def change(self, text: str) -> None:
        self.list.read(text)
        self.core.admin.rights_changed()
        self.settle()

    def restart(self, text: str) -> None:
        self.commit()
        self.list.read(text)
        self.crash()


def joined(rig: ListedAndStored, name: str, *filters: str, qos: int = 1) -> Peer:
    peer = rig.online(name, name="anna")
    for each in filters:
        rig.subscribe(peer, each, qos)
    return peer


def publish(rig: StoredRig, *topics: str, retain: bool = False, payload: bytes = b"x") -> None:
    sender = rig.online("s", name="root", clean_start=True, properties=Properties())
    for number, topic in enumerate(topics, 1):
        sender.send(Publish(topic, payload, 1, retain, packet_id=number))
    rig.commit()
    sender.hang_up()


def topics(peer: Peer) -> list[str]:
    found = []
    while packets := [each for each in peer.take() if isinstance(each, Publish)]:
        found += [each.topic for each in packets]
        for each in packets:
            assert each.packet_id is not None
            peer.send(PubAck(each.packet_id))
    return found


def filled() -> ListedAndStored:
    """Return a broker with little room, after a start with two sessions that take nearly all."""
    rig = ListedAndStored()
    for name in ("1", "2"):
        joined(rig, name, "a", "b").hang_up()
    publish(rig, *["a"] * 90, payload=bytes(10_000))
    rig.limits = TIGHT
    rig.restart(ALL)
    return rig


# case B9
@pytest.mark.parametrize(
    "text", [ALL, ALL + "topic deny nothing/#\n", ALL + "topic deny b\n"], ids=["", "no", "b"]
)
def test_a_reload_that_denies_nothing_loses_nothing(text: str) -> None:
    rig = filled()
    for name in ("1", "2"):
        rig.online(name, name="anna").hang_up()  # else a reload leaves them alone
    rig.change(text)
    assert not rig.core.counters.dropped
    rig.change(ALL)
    for name in ("1", "2"):
        assert topics(rig.online(name, name="anna")) == ["a"] * 90


# case B9
def test_a_reload_drops_what_is_denied_and_only_that() -> None:
    rig = ListedAndStored()
    joined(rig, "r", "a/#", "b", "c").hang_up()
    publish(rig, "a/1", "b", "c", "a/2", "b", "a/3")
    rig.change("user root\ntopic #\nuser anna\ntopic a/#\ntopic c\ntopic deny a/2\n")
    assert rig.core.counters.dropped == {"not_authorized": 3}
    assert topics(rig.online("r", name="anna")) == ["a/1", "c", "a/3"]


# case B9
def test_what_came_by_a_filter_that_was_given_up_is_not_denied() -> None:
    rig = Rig(Limits(in_flight=1))
    peer = rig.online("r", MQTT_5, clean_start=False, properties=STAYS)
    peer.send(Subscribe(1, (Subscription("a", 1), Subscription("b", 1), Subscription("c", 1))))
    peer.hang_up()
    sender = rig.online("s", MQTT_5)
    sender.send(*(Publish(each, b"", 1, packet_id=n) for n, each in enumerate("abc", 1)))
    session = rig.core._registry.get("r")
    assert session is not None
    rig.core._subscriptions.unsubscribe(session, "a")
    del session.subscriptions["a"]
    rig.rules.no_subscribe.add("b")
    rig.core.admin.rights_changed()
    assert [each.message.topic for each in session._queue.messages] == ["a", "c"]


# case B9
@pytest.mark.parametrize("qos", [1, 2])
def test_what_waits_for_a_group_goes_to_another_member(qos: int) -> None:
    rig, rules = Rig(), Picky()
    rig.core = Core(rules, rig.limits, lambda: None)
    away = rig.online("away", name="anna", clean_start=False)
    away.subscribe("$share/g/a", qos)
    away.hang_up()
    sender = rig.online("s")
    sender.publish("a", b"for one of them", qos=1)
    other = rig.online("other", name="ben")
    other.subscribe("$share/g/a", qos)
    rules.is_on = True
    rig.core.admin.rights_changed()
    rig.settle()
    assert other.messages() == [("a", b"for one of them")]
    assert not rig.core.counters.dropped


# case B9
def test_one_with_another_password_comes_back_to_its_session() -> None:
    rig = ListedAndStored()
    peer, other = joined(rig, "r", "a"), joined(rig, "away", "a")
    other.hang_up()
    assert rig.core.admin.cut("anna", rig.now) == 1
    assert rig.core.admin.cut("anna", rig.now) == 0
    rig.settle()
    assert peer.closed
    publish(rig, "a")
    for name in ("r", "away"):
        assert topics(rig.online(name, name="anna")) == ["a"]
        assert rig.was_present


# case B9
def test_rights_asked_at_a_login_lose_nothing_else() -> None:
    rig = filled()
    rig.restart("user root\ntopic #\nuser anna\ntopic a\n")
    for name in ("1", "2"):
        assert topics(rig.online(name, name="anna")) == ["a"] * 90


def retained(rig: ListedAndStored) -> list[str]:
    return sorted(each.topic for each in rig.core.retained("#", rig.now))


READS = "user anna\ntopic #\n"


# case B4
@pytest.mark.parametrize("asks", [True, False])
def test_a_right_taken_away_while_the_broker_is_down(asks: bool) -> None:
    rig = ListedAndStored()
    publish(rig, "a", "b", retain=True)
    rig.restart("user root\ntopic b\n" + READS)
    if asks:
        peer = rig.online("r", name="anna")
        rig.subscribe(peer, "#")
        rig.commit()
        assert topics(peer) == ["b"]
    rig.pass_time(1)
    assert rig.core.counters.retained == 1
    assert rig.core.counters.dropped["retained_not_authorized"] == 1
    rig.restart(ALL)
    assert retained(rig) == ["b"], "it does not come back"


# case B4
def test_an_identity_that_is_no_more_leaves_nothing() -> None:
    rig = ListedAndStored()
    joined(rig, "r", "a").hang_up()
    publish(rig, "a", "b", retain=True)
    rig.list.gone = {"root", "anna"}
    rig.restart(ALL)
    rig.pass_time(1)
    assert retained(rig) == []
    assert rig.core.admin.count().away == 0
    rig.list.gone.clear()
    rig.restart(ALL)
    assert retained(rig) == []
    assert rig.core.admin.count().away == 0


# case B4
def test_one_whose_login_tells_its_rights_keeps_what_it_left() -> None:
    rig = ListedAndStored()
    publish(rig, "a", "b", retain=True)
    rig.list.unsure = {"root"}
    rig.restart("user root\ntopic b\n" + READS)
    rig.pass_time(1)
    assert retained(rig) == ["a", "b"]
    rig.list.unsure.clear()
    rig.change("user root\ntopic b\n" + READS)
    assert retained(rig) == ["b"]


# case B4
def test_client_id_and_groups_are_asked_about_as_before() -> None:
    """Rights may depend on both: without them every restart would take messages."""
    who = Identity("root", "s", frozenset({"@tls", "operators"}))

    def decide(self: Peer, credentials: object) -> None:  # noqa: ARG001
        self.rig.core.decide(self.client, who, self.rig.now)

    rig = ListedAndStored()
    peer = rig.dial()
    peer.decide = decide.__get__(peer)  # type: ignore[method-assign]  # another identity
    peer.send(Connect("s", MQTT_5))
    peer.take()
    peer.send(Publish("a", b"x", 1, True, packet_id=1))
    rig.commit()
    rig.list.asked.clear()
    rig.restart(ALL)
    rig.pass_time(1)
    assert rig.list.asked == [who]
    assert retained(rig) == ["a"]


# case B4
def test_a_local_message_stays() -> None:
    rig = ListedAndStored()
    rig.core.publish(Message("a", b"x", 1, retain=True), rig.now)
    rig.restart(READS)
    rig.pass_time(1)
    assert retained(rig) == ["a"]
