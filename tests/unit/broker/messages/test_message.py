import pytest

from broker.local_client import LocalClient
from broker.messages.message import Hold, Message
from broker.quota.limits import Limits
from broker.wire.errors import LocalProtocolError
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Disconnect,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    PubRec,
)
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Rig


class Keeper:
    """A local subscriber that keeps every message until told."""

    def __init__(self, rig: Rig, topic_filter: str = "#") -> None:
        self.rig = rig
        self.messages: list[Message] = []
        LocalClient(rig.core, "keeper", lambda: rig.now).subscribe(topic_filter, self.handle)

    def handle(self, message: Message) -> None:
        self.messages.append(message)
        if message.hold is not None:
            message.hold.keep()

    def hold(self, index: int) -> Hold:
        hold = self.messages[index].hold
        assert hold is not None
        return hold


def decline(message: Message) -> None:
    assert message.hold is not None
    message.hold.keep()
    message.hold.decline()


def qos1(packet_id: int, topic: str = "a") -> Publish:
    return Publish(topic, b"x", 1, packet_id=packet_id)


# [MQTT-4.3.2-4]
@pytest.mark.parametrize("version", VERSIONS)
def test_acknowledged_only_when_all_keepers_have_released(version: int) -> None:
    rig = Rig()
    one, two = Keeper(rig), Keeper(rig)
    client = rig.online("c", version)
    client.send(qos1(5))
    assert client.take() == []
    one.hold(0).release()
    rig.settle()
    assert client.take() == []
    two.hold(0).release()
    rig.settle()
    assert client.take() == [PubAck(5)]


# [MQTT-4.6.0-2]
@pytest.mark.parametrize("version", VERSIONS)
def test_acknowledgements_leave_in_the_order_of_the_publishes(version: int) -> None:
    rig = Rig()
    keeper = Keeper(rig, "held")
    LocalClient(rig.core, "other", lambda: rig.now).subscribe("free", lambda _: None)
    client, listener = rig.online("c", version), rig.online("l")
    listener.subscribe("free", 1)
    client.send(qos1(1, "held"), qos1(2, "free"), qos1(3, "held"), qos1(4, "free"))
    assert client.take() == []
    assert len(listener.messages()) == 2
    keeper.hold(1).release()
    rig.settle()
    assert client.take() == []
    keeper.hold(0).release()
    rig.settle()
    assert client.take() == [PubAck(1), PubAck(2), PubAck(3), PubAck(4)]
    client.send(qos1(9, "free"))
    assert client.take() == [PubAck(9)]


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_overtakes_a_held_acknowledgement(version: int) -> None:
    rig = Rig()
    rig.rules.no_publish.add("secret")
    keeper = Keeper(rig, "held")
    client = rig.online("c", version)
    rig.online("l").subscribe("plain", 1)
    client.send(qos1(1, "held"), qos1(2, "plain"), qos1(3, "secret"), qos1(4, "plain"))
    assert client.take() == []
    keeper.hold(0).release()
    rig.settle()
    answers = [each for each in client.take() if isinstance(each, PubAck)]
    assert [each.packet_id for each in answers] == [1, 2, 3, 4]


# [MQTT-3.4.2-1]
# [MQTT-4.8.0-2] of 3.1.1
def test_a_refusal_is_told_to_mqtt_5_and_closes_3_1_1_without_puback() -> None:
    rig = Rig()
    keeper = Keeper(rig)
    five, four = rig.online("5", MQTT_5), rig.online("4")
    for client in (five, four):
        client.send(qos1(1))
    for index in (0, 1):
        keeper.hold(index).refuse()
    rig.settle()
    assert five.take() == [PubAck(1, Reason.QUOTA_EXCEEDED)]
    assert not five.closed
    assert four.take() == []
    assert four.closed


def test_one_refusal_is_enough() -> None:
    rig = Rig()
    one, two = Keeper(rig), Keeper(rig)
    client = rig.online("5", MQTT_5)
    client.send(qos1(1))
    one.hold(0).refuse()
    two.hold(0).release()
    rig.settle()
    assert client.take() == [PubAck(1, Reason.QUOTA_EXCEEDED)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_publisher_that_leaves_meanwhile_breaks_nothing(version: int) -> None:
    rig = Rig()
    keeper = Keeper(rig)
    client = rig.online("c", version)
    client.send(qos1(1), qos1(2))
    client.hang_up()
    keeper.hold(0).release()
    keeper.hold(1).refuse()
    rig.settle()
    again = rig.online("c", version)
    assert again.take() == []
    assert rig.core.counters.connections == 1


# [MQTT-3.3.4-7]
def test_un_acknowledged_messages_are_bounded_for_mqtt_5() -> None:
    rig = Rig(Limits(holds=2))
    Keeper(rig)
    client = rig.online("c", MQTT_5)
    client.send(qos1(1), qos1(2))
    assert not client.closed
    client.send(qos1(3))
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.RECEIVE_MAXIMUM_EXCEEDED


def test_a_3_1_1_client_is_not_read_beyond_the_bound() -> None:
    rig = Rig(Limits(holds=2))
    keeper = Keeper(rig)
    client = rig.online("c", MQTT_3_1_1, keep_alive_s=10)
    client.send(qos1(1), qos1(2), qos1(3), PingReq(), qos1(4))
    assert len(keeper.messages) == 2
    assert not client.reads
    rig.pass_time(60)
    assert not client.closed  # the silence is ours
    keeper.hold(0).release()
    rig.settle()
    assert len(keeper.messages) == 3
    assert not client.reads
    keeper.hold(1).release()
    rig.settle()
    assert client.take() == [PubAck(1), PubAck(2), PingResp()]
    assert len(keeper.messages) == 4
    keeper.hold(2).release()
    keeper.hold(3).release()
    rig.settle()
    assert client.take() == [PubAck(3), PubAck(4)]
    assert client.reads


def test_local_and_qos_0_messages_have_no_hold() -> None:
    rig = Rig()
    keeper = Keeper(rig)
    rig.online("c").publish("a", qos=0)
    LocalClient(rig.core, "l", lambda: rig.now).publish("a", b"", qos=1)
    assert [each.hold for each in keeper.messages] == [None, None]


def test_a_handler_that_fails_harms_nobody_and_does_not_keep_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()

    def fail(message: Message) -> None:
        if message.topic == "kept" and message.hold is not None:
            message.hold.keep()
        raise ValueError("a bug")

    LocalClient(rig.core, "bad", lambda: rig.now).subscribe("#", fail)
    receiver, client = rig.online("r"), rig.online("c", MQTT_5)
    receiver.subscribe("#")
    client.send(qos1(1, "kept"), qos1(2, "free"))
    assert client.take() == [PubAck(1, Reason.QUOTA_EXCEEDED), PubAck(2)]
    assert len(receiver.messages()) == 2
    assert "a bug" in caplog.text


def test_a_hold_cannot_be_let_go_twice_nor_kept_too_late() -> None:
    verdicts: list[bool] = []
    hold = Hold(verdicts.append)
    hold.keep()
    hold.release()
    assert hold.decided
    with pytest.raises(LocalProtocolError):
        hold.release()
    with pytest.raises(LocalProtocolError):
        hold.keep()
    assert verdicts == [True]


# case G2
@pytest.mark.parametrize("qos", [1, 2])
def test_a_declined_message_is_told_to_mqtt_5_and_cuts_off_no_other(qos: int) -> None:
    rig = Rig()
    LocalClient(rig.core, "cloud", lambda: rig.now).subscribe("#", decline)
    receiver = rig.online("r")
    receiver.subscribe("#")
    old, new = rig.online("old", MQTT_3_1_1), rig.online("new", MQTT_5)
    for client in (old, new):
        client.send(Publish("t", b"1", qos, packet_id=1))
    first = PubAck if qos == 1 else PubRec
    assert old.take() == [first(1)]
    assert new.take() == [first(1, Reason.QUOTA_EXCEEDED)]
    assert len(receiver.messages()) == 2
    old.send(PingReq())
    assert old.take() == [PingResp()], "it is connected"


# case G2
def test_a_declined_message_still_waits_for_its_other_keepers() -> None:
    verdicts: list[bool] = []
    hold = Hold(verdicts.append, has_reason_codes=False)
    hold.keep()
    hold.keep()
    hold.decline()
    assert not hold.decided
    hold.release()
    assert verdicts == [True]


def test_local_clients_get_messages_retained_ones_first_and_can_stop() -> None:
    rig = Rig()
    remote = rig.online("r", name="remote")
    remote.publish("a/1", b"old", retain=True)
    local = LocalClient(rig.core, "l", lambda: rig.now)
    seen: list[tuple[str, bytes, bool, str]] = []
    local.subscribe("a/+", lambda m: seen.append((m.topic, m.payload, m.retain, m.sender)))
    remote.publish("a/2", b"new", qos=1)
    local.publish("a/3", b"own")
    assert seen == [
        ("a/1", b"old", True, "remote"),
        ("a/2", b"new", False, "remote"),
        ("a/3", b"own", False, ""),
    ]
    local.close()
    remote.publish("a/4")
    assert len(seen) == 3
    assert rig.core.counters.subscriptions == 0


def test_what_a_handler_publishes_follows_its_message_for_everybody() -> None:
    rig = Rig()
    local = LocalClient(rig.core, "l", lambda: rig.now)
    local.subscribe("request", lambda _: local.publish("answer", b"2"))
    watcher, client = rig.online("w"), rig.online("c")
    watcher.subscribe("#")
    client.publish("request", b"1")
    assert watcher.messages() == [("request", b"1"), ("answer", b"2")]


def test_local_misuse_is_an_error_of_the_caller() -> None:
    rig = Rig()
    local = LocalClient(rig.core, "l", lambda: rig.now)
    with pytest.raises(LocalProtocolError):
        local.publish("a", b"", qos=3)
    with pytest.raises(LocalProtocolError):
        local.publish("a/#", b"")
    with pytest.raises(LocalProtocolError):
        local.subscribe("a#", lambda _: None)
