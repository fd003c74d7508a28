"""Hooks of an embedding program: what they may decide, and that without them nothing changes."""

from dataclasses import replace

import pytest

from broker.local_client import LocalClient
from broker.messages.message import NO_ROOM, Message
from broker.policy import Identity, Refusal
from broker.routing.hooks import ConnectingClient
from broker.wire.errors import LocalProtocolError
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Disconnect,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    PubRec,
    SubAck,
    Subscribe,
    Subscription,
)
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Rig, will

IDENTITY = Identity("d", "d")


class Noting:
    """A hook that lets everything pass and remembers it."""

    def __init__(self) -> None:
        self.seen: list[Message] = []

    def __call__(self, message: Message) -> Message:
        self.seen.append(message)
        return message


def fail(*_: object) -> None:
    raise ZeroDivisionError


# -- connect


def test_connect_is_asked_after_authentication_and_may_refuse() -> None:
    rig = Rig()
    asked: list[ConnectingClient] = []

    def ask(arrival: ConnectingClient) -> Refusal | None:
        asked.append(arrival)
        return Refusal.BANNED if arrival.identity.name == "ben" else None

    rig.core.hooks.on_connect(ask)
    rig.online("a", MQTT_5, name="anna")
    assert asked == [ConnectingClient(Identity("anna", "a"), "tcp", "10.0.0.1", 5, True)]
    assert rig.connect("b", MQTT_5, name="ben").take() == [ConnAck(Reason.BANNED)]
    assert rig.connect("b", MQTT_3_1_1, name="ben").take() == [ConnAck(5)]
    rig.refusal = Refusal.BAD_CREDENTIALS
    rig.connect("c", name="eve")
    assert len(asked) == 3
    assert rig.core.counters.refused["connect_banned"] == 2


def test_one_that_is_refused_does_not_take_over_the_session_it_asked_for() -> None:
    rig = Rig()
    first = rig.online("a")
    rig.core.hooks.on_connect(lambda _: Refusal.SERVER_BUSY)
    assert rig.connect("a").closed
    first.send(PingReq())
    assert first.take() == [PingResp()]


def test_a_connect_hook_that_fails_refuses() -> None:
    rig = Rig()
    rig.core.hooks.on_connect(fail)
    assert rig.connect("a", MQTT_5).take() == [ConnAck(Reason.SERVER_UNAVAILABLE)]
    assert rig.core.counters.refused["connect_hook_failed"] == 1


# -- publish


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_may_change_a_message(version: int, qos: int) -> None:
    rig = Rig()
    rig.core.hooks.on_publish("a/+", lambda m: replace(m, topic="b", payload=m.payload + b"!"))
    client, listener = rig.online("c", version), rig.online("l")
    for topic_filter in ("b", "c"):
        listener.subscribe(topic_filter, qos)
    client.publish("a/x", b"1", qos=qos)
    client.publish("c", b"2", qos=qos, packet_id=2 if qos else None)
    assert listener.messages() == [("b", b"1!"), ("c", b"2")]
    answers = [type(each) for each in client.take()]
    assert answers == [[], [PubAck] * 2, [PubRec] * 2][qos]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_may_drop_a_message_with_success(version: int, qos: int) -> None:
    rig = Rig()
    rig.core.hooks.on_publish("a", lambda _: None)
    client, listener = rig.online("c", version), rig.online("l")
    listener.subscribe("#")
    client.publish("a", qos=qos, retain=True)
    assert listener.messages() == []
    assert client.take() == [[], [PubAck(1)], [PubRec(1)]][qos]
    assert rig.core.counters.dropped == {"hook": 1}
    assert rig.core.counters.retained == 0


@pytest.mark.parametrize("hook", [lambda _: Reason.QUOTA_EXCEEDED, fail, lambda _: Reason.SUCCESS])
def test_publish_may_refuse_a_message(hook: object) -> None:
    rig = Rig()
    rig.core.hooks.on_publish("a", hook)  # type: ignore[arg-type]  # one of them breaks the contract
    old, new, listener = rig.online("o"), rig.online("n", MQTT_5), rig.online("l")
    listener.subscribe("#")
    for client in (old, new):
        for qos in (0, 1, 2):
            client.publish("a", qos=qos, packet_id=qos or None)
    assert listener.messages() == []
    assert [type(each) for each in old.take()] == [PubAck, PubRec]  # there is no word for it
    answers = [each for each in new.take() if isinstance(each, PubAck | PubRec)]
    expected = Reason.QUOTA_EXCEEDED if hook not in (fail,) else Reason.IMPLEMENTATION_SPECIFIC
    if rig.core.counters.refused["publish_hook_failed"]:
        expected = Reason.IMPLEMENTATION_SPECIFIC
    assert [each.reason for each in answers] == [expected, expected]
    assert rig.core.counters.dropped == {"hook": 6}
    new.send(PingReq())
    assert new.take() == [PingResp()]


# case G10
@pytest.mark.parametrize("qos", [1, 2])
def test_what_has_no_room_is_told_in_every_version(qos: int) -> None:
    rig = Rig()
    rig.core.hooks.on_publish("a", lambda _: NO_ROOM)
    old, new, listener = rig.online("o"), rig.online("n", MQTT_5), rig.online("l")
    listener.subscribe("#")
    for client in (old, new):
        client.publish("a", qos=qos, packet_id=1)
    assert listener.messages() == []
    assert old.take() == []
    assert old.closed, "it has no acknowledgement and sends again"
    answer = PubAck if qos == 1 else PubRec
    assert new.take() == [answer(1, Reason.QUOTA_EXCEEDED)]
    assert rig.core.counters.dropped == {"hook": 2}


def test_a_changed_message_with_a_bad_topic_is_refused() -> None:
    rig = Rig()
    rig.core.hooks.on_publish("#", lambda message: replace(message, topic="a/#"))
    client = rig.online("c", MQTT_5)
    client.publish("a", qos=1)
    assert client.take() == [PubAck(1, Reason.IMPLEMENTATION_SPECIFIC)]


def test_hooks_on_one_topic_follow_each_other_and_end_at_the_first_no() -> None:
    rig = Rig()
    seen: list[bytes] = []

    def note(message: Message) -> Message | None:
        seen.append(message.payload)
        return replace(message, payload=b"two") if message.payload == b"one" else None

    rig.core.hooks.on_publish("#", note)
    rig.core.hooks.on_publish("a", note)
    rig.core.hooks.on_publish("b", note)
    rig.core.hooks.on_publish("a", note)
    rig.online("c").publish("a", b"one")
    assert seen == [b"one", b"two"]


def test_a_hook_cannot_change_who_sent_a_message() -> None:
    rig = Rig()
    rig.core.hooks.on_publish("#", lambda m: replace(m, sender="root", publisher=None))
    got: list[Message] = []
    LocalClient(rig.core, "me", lambda: rig.now).subscribe("#", got.append)
    client = rig.online("c", name="anna")
    client.publish("a", qos=1)
    assert (got[0].sender, got[0].publisher) == ("anna", Identity("anna", "c"))
    assert got[0].hold is not None


def test_publish_is_asked_once_about_a_message_that_comes_twice_at_qos_2() -> None:
    rig, noted = Rig(), Noting()
    rig.core.hooks.on_publish("#", noted)
    client = rig.online("c")
    client.send(Publish("a", b"x", 2, packet_id=1))
    client.send_bytes(b"\x3c\x06\x00\x01a\x00\x01x")  # DUP
    assert len(noted.seen) == 1


def test_publish_is_asked_about_wills_and_not_about_what_is_not_allowed() -> None:
    rig = Rig()
    rig.core.hooks.on_publish("will", lambda message: replace(message, payload=b"changed"))
    listener = rig.online("l")
    listener.subscribe("#")
    rig.online("c", will=will()).hang_up()
    assert listener.messages() == [("will", b"changed")]
    noted = Noting()
    rig.core.hooks.on_publish("no", noted)
    rig.rules.no_publish.add("no")
    rig.online("d").publish("no")
    assert noted.seen == []
    rig.core.hooks.on_publish("will", lambda _: None)
    rig.online("e", will=will()).hang_up()
    assert listener.messages() == []


def test_only_topics_with_a_hook_leave_the_hot_path() -> None:
    rig = Rig()
    client, listener = rig.online("c"), rig.online("l")
    listener.subscribe("#")
    client.publish("a/1")
    remove = rig.core.hooks.on_publish("a/+", lambda message: message)
    client.publish("a/1")
    client.publish("b")
    routes = {route.topic: route for route in client.client.routes.values()}
    assert routes["a/1"].receiver_set.limit < 0 < routes["b"].receiver_set.limit
    remove()
    remove()
    client.publish("a/1")
    assert client.client.routes[b"a/1"].receiver_set.limit > 0
    assert len(listener.messages()) == 4


def test_a_filter_that_is_none_is_our_fault() -> None:
    with pytest.raises(LocalProtocolError, match="misplaced #"):
        Rig().core.hooks.on_publish("a/#/b", lambda message: message)


# -- subscribe


def test_subscribe_may_lower_the_qos_or_refuse() -> None:
    rig = Rig()

    def ask(identity: Identity, subscription: Subscription) -> int:
        assert identity.name == "anna"
        if subscription.topic_filter == "secret":
            return Reason.NOT_AUTHORIZED
        return 1 if subscription.topic_filter == "one" else 2

    rig.core.hooks.on_subscribe(ask)
    for version, refused in ((MQTT_3_1_1, 0x80), (MQTT_5, Reason.NOT_AUTHORIZED)):
        client = rig.online("c", version, name="anna")
        asked = (("one", 2), ("secret", 0), ("zero", 0), ("$share/g/two", 2))
        client.send(Subscribe(7, tuple(Subscription(*each) for each in asked)))
        assert client.take() == [SubAck(7, (1, refused, 0, 2))]
        rig.online("p").publish("one", qos=2)
        (message,) = client.take()
        assert isinstance(message, Publish)
        assert message.qos == 1
    assert rig.core.counters.refused["subscribe_not_authorized"] == 2


@pytest.mark.parametrize("hook", [fail, lambda *_: None, lambda *_: 0xFF])
def test_a_subscribe_hook_that_fails_refuses(hook: object) -> None:
    rig = Rig()
    rig.core.hooks.on_subscribe(hook)  # type: ignore[arg-type]  # they break the contract
    client = rig.online("c", MQTT_5)
    client.send(Subscribe(1, (Subscription("a"),)))
    assert client.take() == [SubAck(1, (Reason.IMPLEMENTATION_SPECIFIC,))]


def test_a_hook_may_disconnect_whom_it_is_asked_about() -> None:
    rig = Rig()

    def cut(identity: Identity, _: object) -> int:
        rig.core.admin.disconnect(identity.name, rig.now)
        return 0

    rig.core.hooks.on_subscribe(cut)
    client = rig.online("c")
    client.send(Subscribe(1, (Subscription("a"), Subscription("b"))))
    assert client.closed
    assert rig.core.counters.subscriptions == 0
    rig.core.hooks.on_publish("#", lambda message: None if cut(IDENTITY, None) else message)
    for qos in (0, 1, 2):
        client = rig.online("d", MQTT_5)
        client.publish("a", qos=qos)
        assert client.closed


# -- disconnect


def test_disconnect_tells_why_once() -> None:
    rig = Rig()
    told: list[tuple[str, Reason | None]] = []
    rig.core.hooks.on_disconnect(lambda identity, reason: told.append((identity.name, reason)))
    rig.online("a").hang_up()
    rig.online("b").send(Disconnect())
    rig.online("c", MQTT_5).send(Disconnect(Reason.DISCONNECT_WITH_WILL))
    rig.online("d", keep_alive_s=10)
    rig.pass_time(20)
    peer = rig.online("e")
    rig.online("e")
    peer.hang_up()
    rig.online("f").send_bytes(b"\xf0\x00\x00")
    rig.core.admin.disconnect("e", rig.now)
    rig.online("g")
    rig.core.shut_down(rig.now)
    assert told == [
        ("a", None),
        ("b", Reason.NORMAL_DISCONNECTION),
        ("c", Reason.DISCONNECT_WITH_WILL),
        ("d", Reason.KEEP_ALIVE_TIMEOUT),
        ("e", Reason.SESSION_TAKEN_OVER),
        ("f", Reason.MALFORMED_PACKET),
        ("e", Reason.ADMINISTRATIVE_ACTION),
        ("g", Reason.SERVER_SHUTTING_DOWN),
    ]


def test_disconnect_does_not_tell_of_those_never_let_in() -> None:
    rig = Rig()
    told: list[Identity] = []
    rig.core.hooks.on_disconnect(lambda identity, _: told.append(identity))
    rig.dial().hang_up()
    rig.refusal = Refusal.BANNED
    rig.connect("a").hang_up()
    rig.dial().send_bytes(b"\x00\x00")
    assert told == []


def test_a_disconnect_hook_that_fails_harms_nobody() -> None:
    rig = Rig()
    told: list[Identity] = []
    rig.core.hooks.on_disconnect(fail)
    rig.core.hooks.on_disconnect(lambda identity, _: told.append(identity))
    rig.online("a").hang_up()
    assert [each.name for each in told] == ["a"]
    assert rig.core.counters.refused["disconnect_hook_failed"] == 1


def test_a_hook_between_members_of_a_group_leaves_all_others_alone() -> None:
    rig, asked = Rig(), []

    def note(message: Message) -> Message:
        asked.append((message.sender, message.topic))
        return message

    rig.core.hooks.on_publish("#", note, between="g")
    rig.groups = frozenset({"g"})
    one, two = rig.online("one"), rig.online("two")
    rig.groups = frozenset()
    outside = rig.online("outside")
    outside.subscribe("out")
    for sender in (one, outside):
        for topic in ("a", "out", "shared"):
            sender.publish(topic, qos=1)
    assert asked == [], "no member receives"
    two.subscribe("a")
    two.subscribe("$share/s/shared")
    for sender in (one, outside):
        for topic in ("a", "out", "shared"):
            sender.publish(topic, qos=1)
    assert asked == [("one", "a"), ("one", "shared")]
    assert [topic for topic, _ in two.messages()] == ["a", "shared"] * 2
