"""The broker refuses forbidden packets, and keeps the limits that a client has set."""

import pytest

from broker.wire import encode_packet
from broker.wire.packets import (
    MQTT_3_1,
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
)
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Peer, Rig

CONTROLS = ("\x01", "\n", "\x1f", "\x7f", "\x9f")


def check_ended(client: Peer, reason: Reason) -> None:
    """Closed, after a DISCONNECT if the version has one."""
    answers = client.take()
    assert client.closed
    if client.version < MQTT_5:
        assert answers == []
        return
    (packet,) = answers
    assert isinstance(packet, Disconnect)
    assert packet.reason == reason


def takes(size: int) -> Properties:
    return Properties(maximum_packet_bytes=size)


# [MQTT-3.1.2-24]
@pytest.mark.parametrize("size", [2, 5, 12])
def test_a_client_that_takes_no_connack_is_closed_without_a_word(size: int) -> None:
    rig = Rig()
    client = rig.connect("c", MQTT_5, properties=takes(size), will=Will("w", b""))
    assert client.received == b""
    assert client.closed
    assert rig.core.admin.connected() == frozenset()
    assert rig.core.counters.refused["connect_packet_too_large"] == 1


# [MQTT-3.1.2-24] [MQTT-4.13.2-1]
def test_a_refusal_that_does_not_fit_is_not_sent() -> None:
    rig = Rig()
    client = rig.connect("c", MQTT_5, properties=takes(4), will=Will("a\nb", b""))
    assert client.received == b""
    assert client.closed


# [MQTT-3.1.2-24]
@pytest.mark.parametrize("unsubscribe", [False, True])
def test_an_answer_that_does_not_fit_ends_the_connection(unsubscribe: bool) -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5, properties=takes(20))
    filters = tuple(f"f/{each}" for each in range(30))
    if unsubscribe:
        client.send(Unsubscribe(1, filters))
    else:
        client.send(Subscribe(1, tuple(Subscription(each) for each in filters)))
    assert len(client.received) <= 20
    check_ended(client, Reason.PACKET_TOO_LARGE)
    assert rig.core.counters.subscriptions == 0


def test_an_answer_that_fits_is_sent() -> None:
    client = Rig().online("c", MQTT_5, properties=takes(20))
    client.send(Subscribe(1, tuple(Subscription(f"f/{each}") for each in range(15))))
    (answer,) = client.take()
    assert isinstance(answer, SubAck)
    assert len(answer.codes) == 15


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("before", [b"", b"\x40\x02\x00\x05"])
@pytest.mark.parametrize("hot_path", [False, True])
def test_packet_id_0_is_no_packet_id(version: int, before: bytes, hot_path: bool) -> None:
    client = Rig(hot_path=hot_path).online("c", version)
    client.send_bytes(before + b"\x40\x02\x00\x00")
    check_ended(client, Reason.MALFORMED_PACKET)


# [MQTT-4.3.2-3] [MQTT-4.3.3-3]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize(
    ("qos", "answers"),
    [
        (1, (PubRec,)),
        (1, (PubComp,)),
        (2, (PubAck,)),
        (2, (PubComp,)),
        (2, (PubRec, PubAck)),
    ],
)
def test_the_wrong_acknowledgement_is_a_fault(
    version: int,
    hot_path: bool,
    qos: int,
    answers: tuple[type[PubAck] | type[PubRec] | type[PubComp], ...],
) -> None:
    rig = Rig(hot_path=hot_path)
    client = rig.online("c", version)
    client.subscribe("a", qos)
    rig.online("s").publish("a", qos=qos)
    (packet,) = client.take()
    assert isinstance(packet, Publish)
    *right, wrong = (kind(packet.packet_id or 0) for kind in answers)
    client.send(*right)
    client.take()
    client.send(wrong)
    check_ended(client, Reason.PROTOCOL_ERROR)


def test_pubacks_before_the_fault_count() -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5, properties=Properties(session_expiry_s=60))
    client.subscribe("one", 1)
    client.subscribe("two", 2)
    sender = rig.online("s")
    sender.publish("one", qos=1)
    sender.publish("two", qos=2)
    one, two = (each.packet_id or 0 for each in client.take() if isinstance(each, Publish))
    client.send(PubAck(one), PubAck(two), PubAck(999))
    assert client.closed
    again = rig.connect(
        "c", MQTT_5, clean_start=False, properties=Properties(session_expiry_s=60)
    ).take()
    assert [each.topic for each in again if isinstance(each, Publish)] == ["two"]


@pytest.mark.parametrize("response_topic", ["", "a/+", "#"])
def test_a_will_with_a_bad_response_topic_is_refused(response_topic: str) -> None:
    will = Will("w", b"", properties=Properties(response_topic=response_topic))
    client = Rig().connect("c", MQTT_5, will=will)
    assert client.take() == [ConnAck(Reason.PROTOCOL_ERROR)]
    assert client.closed


# [MQTT-3.1.4-1] [MQTT-4.7.0-1]
@pytest.mark.parametrize("topic", ["", "a/+", "#"])
def test_a_will_with_a_bad_topic_is_refused(topic: str) -> None:
    client = Rig().connect("c", MQTT_5, will=Will(topic, b""))
    assert client.take() == [ConnAck(Reason.PROTOCOL_ERROR)]
    assert client.closed


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "packet",
    [b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00", b"\xb0\x02\x00\x01", b"\xd0\x00", b"\xdf\x01x"],
)
def test_only_a_broker_sends_answers(version: int, packet: bytes) -> None:
    client = Rig().online("c", version)
    client.send_bytes(packet)
    check_ended(client, Reason.PROTOCOL_ERROR)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_are_refused(version: int, control: str) -> None:
    name = f"a{control}b"
    bad: list[Packet] = [
        Publish(name, b""),
        Publish(name, b"", 1, packet_id=1),
        Publish(name, b"", 2, packet_id=1),
        Subscribe(1, (Subscription(name),)),
        Subscribe(1, (Subscription(f"$share/{name}/x"),)),
        Unsubscribe(1, (name,)),
    ]
    for packet in bad:
        client = Rig().online("c", version)
        client.send(packet)
        check_ended(client, Reason.MALFORMED_PACKET)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_in_a_connect_are_refused(version: int, control: str) -> None:
    name = f"a{control}b"
    for connect in (
        Connect("c", version, username=name),
        Connect("c", version, will=Will(name, b"")),
    ):
        client = Rig().dial()
        client.send(connect)
        wanted = [ConnAck(Reason.MALFORMED_PACKET)] if version == MQTT_5 else []
        assert client.take() == wanted
        assert client.closed


def test_other_characters_are_welcome() -> None:
    client = Rig().online("\u00a0-\u00fc", MQTT_5, name=" ~")
    client.subscribe(" /~/\u00a0")
    client.publish(" /~/\u00a0", b"x")
    assert client.messages() == [(" /~/\u00a0", b"x")]


# [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1]
# [MQTT-2.2.2-2] of 3.1.1
@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        (Subscribe(1, (Subscription("a"),)), SubAck(1, (0,))),
        (Unsubscribe(1, ("a",)), UnsubAck(1)),
        (PubRel(1), PubComp(1)),
    ],
)
@pytest.mark.parametrize("version", [MQTT_3_1, MQTT_3_1_1, MQTT_5])
def test_only_3_1_marks_requests_as_sent_again(
    version: int, packet: Packet, answer: Packet
) -> None:
    client = Rig().online("c", version)
    first, *rest = encode_packet(packet, version)
    client.send_bytes(bytes((first | 0x08, *rest)))
    if version == MQTT_3_1:
        assert client.take() == [answer]
    else:
        check_ended(client, Reason.MALFORMED_PACKET)


@pytest.mark.parametrize("clean_start", [False, True])
def test_3_1_wants_a_client_id(clean_start: bool) -> None:
    client = Rig().connect("", MQTT_3_1, clean_start=clean_start)
    assert client.take() == [ConnAck(2, properties=NO_PROPERTIES)]
    assert client.closed


@pytest.mark.parametrize(("wanted", "is_told"), [(None, False), (False, False), (True, True)])
def test_a_client_that_asks_for_reasons_gets_them(wanted: bool | None, is_told: bool) -> None:
    properties = Properties(request_problem_information=wanted)
    client = Rig().online("c", MQTT_5, properties=properties)
    client.send_bytes(b"\x36\x05\x00\x01a\x00\x01")
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.MALFORMED_PACKET
    assert bool(packet.properties.reason_string) is is_told


def test_3_1_is_granted_what_it_may_not_read() -> None:
    rig = Rig()
    rig.rules.no_subscribe.add("b")
    answers = []
    for version in (MQTT_3_1, MQTT_3_1_1, MQTT_5):
        client = rig.online("c", version)
        asked = (Subscription("a", 1), Subscription("b", 2))
        client.send(Subscribe(1, asked))
        answers += client.take()
        rig.online("p").publish("b")
        assert client.take() == []
    codes = [each.codes for each in answers if isinstance(each, SubAck)]
    assert codes == [(1, 2), (1, 0x80), (1, Reason.NOT_AUTHORIZED)]


def test_3_1_is_not_told_of_its_session() -> None:
    rig = Rig()
    for version, told in ((MQTT_3_1, False), (MQTT_3_1, False), (MQTT_3_1_1, True)):
        client = rig.connect("c", version, clean_start=False)
        assert client.take() == [ConnAck(0, told)]


@pytest.mark.parametrize(
    "connect",
    [
        "10 0f 0006 4d5149736470 03 01 000a 0001 70",  # flags that 3.1 does not use
        "14 0f 0006 4d5149736470 03 00 000a 0001 70",
        "10 0f 0006 4d5149736470 03 80 000a 0001 70",  # the length takes precedence over flags
        "10 0f 0006 4d5149736470 03 c0 000a 0001 70",
        "10 12 0006 4d5149736470 03 c0 000a 0001 70 0001 75",
    ],
)
def test_what_3_1_takes(connect: str) -> None:
    client = Rig().dial()
    client.send_bytes(bytes.fromhex(connect))
    assert client.received == bytes.fromhex("20020000")
    assert not client.closed
    client = Rig().dial()
    later = connect.replace("0006 4d5149736470 03", "0004 4d515454 04")
    first, length, *rest = later.split()
    client.send_bytes(bytes.fromhex("".join((first, f"{int(length, 16) - 2:02x}", *rest))))
    assert client.received == b""
    assert client.closed


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_id_with_control_characters_is_refused_by_name(version: int, control: str) -> None:
    client = Rig().connect(f"c{control}", version)
    (answer,) = client.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == (Reason.CLIENT_ID_NOT_VALID if version == MQTT_5 else 2)
    assert client.closed


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("03", Reason.PROTOCOL_ERROR),
        ("30", Reason.PROTOCOL_ERROR),
        ("40", Reason.MALFORMED_PACKET),
        ("80", Reason.MALFORMED_PACKET),
    ],
)
def test_options_that_do_not_exist(options: str, reason: Reason) -> None:
    client = Rig().online("c", MQTT_5)
    client.send_bytes(bytes.fromhex(f"82 07 0001 00 0001 61 {options}"))
    check_ended(client, reason)
