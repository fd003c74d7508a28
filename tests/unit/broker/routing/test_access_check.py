"""Rights below a subscription, rights of stored sessions, rights of whoever left a message."""

from __future__ import annotations

import pytest

from broker.access.rights.acl import AccessList
from broker.access.rights.acl_lines import parse_acl_lines
from broker.access.rights.rules import READ_WRITE, Rule, Subject, SubjectKind
from broker.core import Core
from broker.local_client import LocalClient
from broker.policy import Identity
from broker.quota.limits import Limits
from broker.standalone.realms import MARK
from broker.wire.packets import MQTT_5, PubAck, Publish, PubRec, SubAck, Subscribe, Subscription
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Rig, will

BELOW = "user root\ntopic #\nuser anna\ntopic a/#\ntopic deny a/secret/#\n"


class Changing:
    """An Authorizer whose list can be another one."""

    def __init__(self, text: str) -> None:
        self.read(text)

    def read(self, text: str) -> None:
        rules, problems = parse_acl_lines(text)
        assert not problems
        self.rules = AccessList(rules)

    def may_publish(self, identity: Identity, topic: str) -> bool:
        return self.rules.may_publish(identity, topic)

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        return self.rules.may_subscribe(identity, topic_filter)

    def may_read_all(self, identity: Identity, topic_filter: str) -> bool:
        return self.rules.may_read_all(identity, topic_filter)

    def may_read(self, identity: Identity, topic: str) -> bool:
        return self.rules.may_read(identity, topic)


class Listed(Rig):
    """A rig with an access list."""

    def __init__(self, text: str = BELOW, *, hot_path: bool = True) -> None:
        super().__init__()
        self.list = Changing(text)
        self.core = Core(self.list, Limits(), lambda: None, hot_path=hot_path)

    def change(self, text: str) -> None:
        self.list.read(text)
        self.core.admin.rights_changed()
        self.settle()


# -- a denial below what is subscribed to


@pytest.mark.parametrize("hot_path", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_is_denied_is_left_out(version: int, qos: int, *, hot_path: bool) -> None:
    rig = Listed(hot_path=hot_path)
    anna = rig.online("phone", version, name="anna")
    anna.subscribe("a/#", qos)
    root = rig.online("r", name="root")
    for number, topic in enumerate(("a/1", "a/secret/1", "a/secret", "a", "a/2"), 1):
        root.send(Publish(topic, b"x", qos, packet_id=number if qos else None))
    assert [topic for topic, _ in anna.messages()] == ["a/1", "a", "a/2"]


def test_what_is_denied_is_left_out_of_retained_messages() -> None:
    rig = Listed()
    root = rig.online("r", name="root")
    for topic in ("a/1", "a/secret/1", "a/secret"):
        root.publish(topic, retain=True)
    anna = rig.online("phone", name="anna")
    assert [each.topic for each in anna.subscribe("a/#") if isinstance(each, Publish)] == ["a/1"]


def test_what_is_denied_is_left_out_of_what_waits() -> None:
    rig = Listed(BELOW.replace("topic deny a/secret/#\n", ""))
    anna = rig.online("phone", MQTT_5, name="anna", clean_start=False)
    anna.client.session.expiry_s = 60.0  # type: ignore[union-attr]  # it is online
    anna.subscribe("a/#", 1)
    anna.hang_up()
    root = rig.online("r", name="root")
    root.publish("a/secret/1", qos=1)
    root.publish("a/1", qos=1)
    rig.change(BELOW)
    root.publish("a/secret/2", qos=1)
    again = rig.online("phone", MQTT_5, name="anna", clean_start=False)
    assert again.messages() == [("a/1", b"x")]
    rig.change(BELOW.replace("topic deny a/secret/#\n", ""))
    again.send(PubAck(1))
    root.publish("a/secret/3", qos=1)
    assert again.messages() == [("a/secret/3", b"x")]


def test_what_is_denied_as_a_whole_is_refused() -> None:
    rig = Listed()
    anna = rig.online("phone", MQTT_5, name="anna")
    wanted = ("a/secret/#", "a/secret/1", "$share/g/a/#", "#", "a/#", "$share/g/a/1")
    anna.send(Subscribe(1, tuple(Subscription(each) for each in wanted)))
    no = Reason.NOT_AUTHORIZED
    assert anna.take() == [SubAck(1, (no, no, no, no, 0, 0))]
    rig.change(BELOW.replace("a/secret/#", "a/1"))
    assert rig.core.counters.subscriptions == 1  # a shared subscription cannot be left out


def test_others_stay_on_the_hot_path_and_are_not_asked_about() -> None:
    rig = Listed()
    rig.online("phone", name="anna").subscribe("a/#")
    other, root = rig.online("o", name="root"), rig.online("r", name="root")
    other.subscribe("#")
    root.publish("a/secret/1")
    (route,) = root.client.routes.values()
    assert len(route.receivers) == 1
    assert route.receiver_set.limit > 0
    session = other.client.session
    assert session is not None
    assert session.may_read is None


def test_a_session_is_checked_when_its_owner_comes_back_as_another() -> None:
    rig = Listed("")
    rig.list.rules = AccessList([Rule(Subject(SubjectKind.GROUP, "x"), READ_WRITE, "#")])
    groups = frozenset({"x"})
    peer = rig.dial()
    rig.decides = False

    def log_in(groups: frozenset[str]) -> None:
        peer.send_bytes(b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01p")
        rig.core.decide(peer.client, Identity("anna", "p", groups), rig.now)
        rig.settle()
        peer.take()

    log_in(groups)
    peer.subscribe("a/#", 1)
    peer.hang_up()
    LocalClient(rig.core, "me", lambda: rig.now).publish("a/1", b"x", qos=1)
    peer = rig.dial()
    log_in(frozenset({MARK + "tcp"}))
    session = peer.client.session
    assert session is not None
    assert (session.subscriptions, peer.messages(), session.waiting) == ({}, [], 0)


# -- who left a message


def test_a_retained_message_does_not_outlive_the_right_to_publish_it() -> None:  # CVE-2018-12546
    rig = Listed("user ben\ntopic a/#\nuser root\ntopic #\n")
    ben, root = rig.online("b", name="ben"), rig.online("r", name="root")
    for topic in ("a/1", "a/2"):
        ben.publish(topic, topic.encode(), retain=True)
    root.publish("a/3", b"a/3", retain=True)
    rig.change("user ben\ntopic read #\ntopic a/2\nuser root\ntopic #\n")
    late = rig.online("l", name="root")
    found = [each.topic for each in late.subscribe("a/+") if isinstance(each, Publish)]
    assert sorted(found) == ["a/2", "a/3"]
    assert late.subscribe("a/1") == []
    got: list[str] = []
    LocalClient(rig.core, "me", lambda: rig.now).subscribe("a/1", lambda m: got.append(m.topic))
    assert got == []
    assert rig.core.counters.retained == 2
    assert rig.core.counters.dropped == {"retained_not_authorized": 1}


def test_messages_in_doubt_go_without_being_asked_for() -> None:
    rig = Listed("user ben\ntopic #\n")
    ben = rig.online("b", name="ben")
    for number in range(3):
        ben.publish(str(number), retain=True)
    rig.change("user ben\ntopic 1\n")
    rig.pass_time(1)
    assert rig.core.counters.retained == 1


def test_a_new_message_by_another_is_not_doubted() -> None:
    rig = Listed("user ben\ntopic #\nuser root\ntopic #\n")
    ben, root = rig.online("b", name="ben"), rig.online("r", name="root")
    ben.publish("a", b"old", retain=True)
    rig.change("user ben\ntopic read #\nuser root\ntopic #\n")
    root.publish("a", b"new", retain=True)
    rig.pass_time(1)
    assert ben.subscribe("a") == [Publish("a", b"new", retain=True)]


def test_wills_and_patterns_are_checked_for_their_clients() -> None:
    rig = Listed("pattern #\n")
    rig.online("c", name="ben", will=will(retain=True)).hang_up()
    rig.online("dev", name="ben").publish("d/dev", retain=True)
    rig.change("pattern d/%c\n")
    rig.pass_time(1)
    found = rig.core.retained("#", rig.now)
    assert [(each.topic, each.publisher) for each in found] == [("d/dev", Identity("ben", "dev"))]


def test_a_revoked_user_leaves_nothing() -> None:
    rig = Listed("pattern #\n")
    ben, anna = rig.online("b", name="ben"), rig.online("a", name="anna")
    for qos in (0, 1):
        ben.publish(f"b/{qos}", qos=qos, retain=True)
    anna.publish("a", retain=True)
    assert rig.core.admin.revoke("ben", rig.now) == 1
    rig.settle()
    assert ben.closed
    assert [each.topic for each in rig.core.retained("#", rig.now)] == ["a"]
    assert rig.core.counters.dropped == {"retained_not_authorized": 2}
    assert rig.core.admin.disconnect("anna", rig.now) == 1
    assert [each.topic for each in rig.core.retained("#", rig.now)] == ["a"]


def test_a_local_client_needs_no_right() -> None:
    rig = Listed("")
    LocalClient(rig.core, "me", lambda: rig.now).publish("a", b"x", retain=True)
    rig.change("")
    rig.pass_time(1)
    assert rig.core.counters.retained == 1


def test_denied_messages_at_qos_2_are_answered() -> None:
    rig = Listed()
    anna = rig.online("phone", MQTT_5, name="anna")
    anna.publish("a/secret/1", qos=2)
    assert anna.take() == [PubRec(1, Reason.NOT_AUTHORIZED)]
