import pytest

from broker.policy import Credentials, Refusal
from broker.quota.limits import Limits
from broker.wire.packets import MQTT_3_1, MQTT_5, ConnAck, Connect, Disconnect, PingReq, Publish
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Rig, will


# [MQTT-3.1.4-5]
@pytest.mark.parametrize("version", [MQTT_3_1, *VERSIONS])
def test_lets_in_whom_the_authenticator_names(version: int) -> None:
    rig = Rig()
    rig.decides = False
    client = rig.connect("c", version, name="n", password=b"p")
    ((_, credentials),) = rig.asked
    assert credentials == Credentials("c", "n", b"p", "tcp", "10.0.0.1")
    assert "b'p'" not in repr(credentials)
    assert client.take() == []
    assert rig.core.admin.connected() == frozenset()
    rig.decides = True
    rig.settle()
    (answer,) = client.take()
    assert isinstance(answer, ConnAck)
    assert (answer.code, answer.session_present) == (0, False)
    assert rig.core.admin.connected() == {"n"}


# [MQTT-3.2.0-1]
def test_what_follows_connect_waits_for_the_decision() -> None:
    rig = Rig()
    rig.decides = False
    receiver_asked = rig.dial()
    receiver_asked.send(Connect("c"), PingReq(), PingReq())
    receiver_asked.send(PingReq())
    assert not receiver_asked.reads
    assert receiver_asked.take() == []
    rig.decides = True
    rig.settle()
    assert receiver_asked.reads
    assert [type(each).__name__ for each in receiver_asked.take()] == [
        "ConnAck",
        "PingResp",
        "PingResp",
        "PingResp",
    ]


# [MQTT-3.1.3-8] [MQTT-3.1.4-2] [MQTT-3.1.4-6] [MQTT-3.2.2-7]
# [MQTT-3.1.3-9] of 3.1.1
@pytest.mark.parametrize(
    ("refusal", "code_3"),
    [
        (Refusal.BAD_CREDENTIALS, 4),
        (Refusal.NOT_AUTHORIZED, 5),
        (Refusal.CLIENT_ID_NOT_VALID, 2),
        (Refusal.SERVER_BUSY, 3),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_refusal_has_a_code_and_closes(refusal: Refusal, code_3: int, version: int) -> None:
    rig = Rig()
    rig.refusal = refusal
    client = rig.dial()
    client.send(Connect("c", version), Publish("a", b""))
    (answer,) = client.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == (refusal if version == MQTT_5 else code_3)
    assert client.closed
    assert rig.core.counters.refused[f"connect_{refusal.name.lower()}"] == 1
    assert rig.core.counters.messages_received == 0


def test_connack_says_what_the_broker_can() -> None:
    rig = Rig(Limits(holds=7, packet_bytes=5000))
    (answer,) = rig.connect("c", MQTT_5).take()
    assert answer == ConnAck(
        properties=Properties(
            receive_maximum=7,
            maximum_packet_bytes=5000,
            topic_alias_maximum=32,
        )
    )


# [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
# [MQTT-3.1.3-8] of 3.1.1
def test_assigns_client_ids() -> None:
    rig = Rig()
    (one,), (two,) = (rig.connect("", MQTT_5).take() for _ in range(2))
    assert isinstance(one, ConnAck)
    assert isinstance(two, ConnAck)
    assert one.properties.assigned_client_id
    assert one.properties.assigned_client_id != two.properties.assigned_client_id
    assert rig.connect("").take() == [ConnAck(0)]
    assert rig.connect("", clean_start=False).take() == [ConnAck(2)]


# [MQTT-3.1.0-1] [MQTT-3.1.0-2]
def test_the_first_packet_must_be_connect_and_the_second_must_not() -> None:
    rig = Rig()
    early = rig.dial()
    early.send(PingReq())
    assert early.closed
    assert early.take() == []
    twice = rig.online("c", MQTT_5)
    twice.send(Connect("c", MQTT_5))
    (packet,) = twice.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.PROTOCOL_ERROR


# [MQTT-3.1.2-2] [MQTT-3.1.2-3] [MQTT-3.1.4-1]
# [MQTT-3.1.2-2] [MQTT-3.1.4-1] of 3.1.1
@pytest.mark.parametrize(
    ("connect", "answer"),
    [
        ("100c 0004 4d515454 06 02 003c 0000 0000", "2003 00 84 00"),  # level 6, in the form of 5
        ("100e 0006 4d5149736470 02 02 0000 0000 0000", "2002 00 01"),  # level 2
        # case B3: bridges of what is not there, in the form of 3.1.1
        ("100d 0004 4d515454 83 02 003c 0001 61", "2002 00 01"),
        ("100f 0006 4d5149736470 84 02 003c 0001 61", "2002 00 01"),
        ("100d 0004 4d515454 82 02 003c 0001 61", "2002 00 01"),
        ("100d 0004 4d515454 00 02 003c 0001 61", "2002 00 01"),
        ("100d 0004 4d515454 85 02 003c 0001 61", "2003 00 84 00"),
        ("100e 0004 4d515454 05 03 0000 00 0001 61", "2003 00 81 00"),  # reserved flag
        ("100d 0004 4d515454 04 03 0000 0001 61", ""),  # the same in 3.1.1: closed without a word
    ],
)
def test_a_connect_that_cannot_be_understood_is_answered(connect: str, answer: str) -> None:
    client = Rig().dial()
    client.send_bytes(bytes.fromhex(connect))
    assert client.received == bytes.fromhex(answer)
    assert client.closed


def test_enhanced_authentication_is_refused_by_name() -> None:
    properties = Properties(authentication_method="SCRAM-SHA-256", authentication_data=b"x")
    (answer,) = Rig().connect("c", MQTT_5, properties=properties).take()
    assert isinstance(answer, ConnAck)
    assert answer.code == Reason.BAD_AUTHENTICATION_METHOD


def test_connections_are_limited() -> None:
    rig = Rig(Limits(connections=1))
    rig.dial()
    with pytest.raises(AssertionError):
        rig.dial()
    assert rig.core.counters.refused["connections"] == 1


def test_a_client_that_does_not_connect_in_time_is_dropped() -> None:
    rig = Rig(Limits(connect_timeout_s=10))
    silent = rig.dial()
    rig.decides = False
    undecided = rig.connect("c")
    rig.pass_time(9)
    assert not silent.closed
    rig.pass_time(1)
    assert silent.closed
    assert undecided.closed
    assert rig.core.counters.refused["connect_timeout"] == 2


def test_a_client_that_leaves_before_the_decision_changes_nothing() -> None:
    rig = Rig()
    rig.decides = False
    client = rig.connect("c", will=will())
    client.hang_up()
    rig.decides = True
    rig.settle()
    assert rig.core.admin.connected() == frozenset()
    assert rig.core.counters.connections == 0


# [MQTT-3.2.2-15]
def test_a_packet_above_the_limit_closes_before_it_has_arrived() -> None:
    rig = Rig(Limits(packet_bytes=1000, connect_bytes=100))
    client = rig.online("c", MQTT_5)
    client.send_bytes(b"\x30\xff\xff\xff\x7f")
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.PACKET_TOO_LARGE
    stranger = rig.dial()
    stranger.send_bytes(b"\x10\xff\x01")
    assert stranger.closed


# case B3
@pytest.mark.parametrize(
    "connect",
    ["100d 0004 4d515454 84 02 003c 0001 61", "100f 0006 4d5149736470 83 02 003c 0001 61"],
)
def test_a_bridge_gets_nothing_back_and_retain_as_it_was(connect: str) -> None:
    rig = Rig()
    bridge, other = rig.dial(), rig.online("o")
    bridge.send_bytes(bytes.fromhex(connect))
    rig.settle()
    assert bridge.received == bytes.fromhex("2002 00 00")
    bridge.received = b""
    bridge.subscribe("#", 1)
    other.subscribe("#", 1)
    bridge.publish("a", b"mine")
    bridge.publish("a", b"mine", qos=1, retain=True)
    other.publish("a", b"theirs", retain=True)
    other.publish("a", b"plain", qos=1)
    messages = [each for each in bridge.take() if isinstance(each, Publish)]
    assert [(each.payload, each.retain) for each in messages] == [
        (b"theirs", True), (b"plain", False),
    ]  # fmt: skip
    own = [each.payload for each in other.take() if isinstance(each, Publish)]
    assert own == [b"mine", b"mine", b"theirs", b"plain"]
