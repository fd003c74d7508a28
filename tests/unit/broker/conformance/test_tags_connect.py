"""CONNECT and CONNACK. Bytes in, bytes out."""

from __future__ import annotations

import pytest

from broker.policy import Refusal
from broker.quota.limits import Limits
from broker.wire import encode_packet
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Connect,
    Disconnect,
    PingReq,
    Publish,
    Will,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.ends import empty, raw, reason_of, string, why
from tests.unit.broker.rig import VERSIONS, Peer, Rig, will

KEPT = Properties(session_expiry_s=100)
CODES_5 = {0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, *range(0x99, 0x9E), 0x9F}  # 3.2.2.2
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def connect(version: int, flags: int, *fields: bytes, name: bytes = b"MQTT") -> bytes:
    """Return a CONNECT; fields are those of the payload behind the client id."""
    head = string(name) + bytes((version, flags)) + b"\x00\x00" + empty(version)
    return raw(0x10, head + string(b"c") + b"".join(fields))


def refused(data: bytes, rig: Rig | None = None) -> bytes:
    """Return what a stranger is sent before it is closed."""
    client = (rig or Rig()).dial()
    client.send_bytes(data)
    assert client.closed
    return client.received


def stored(rig: Rig, client_id: str, version: int, **options: object) -> Peer:
    if version == MQTT_5:
        options.setdefault("properties", KEPT)
    return rig.online(client_id, version, clean_start=False, **options)


# [MQTT-3.1.2-1] [MQTT-3.1.2-2]
# [MQTT-3.1.2-1] [MQTT-3.1.2-2] of 3.1.1
@pytest.mark.parametrize("name", [b"MQTt", b"mqtt", b"MQIsdp", b"", b"HTTP"])
@pytest.mark.parametrize("version", VERSIONS)
def test_another_protocol_name_is_told_and_closed(version: int, name: bytes) -> None:
    rig = Rig()
    answer = "2003 00 84 00" if version == MQTT_5 else "2002 00 01"
    assert refused(connect(version, 2, name=name), rig) == bytes.fromhex(answer)
    assert rig.asked == []


# [MQTT-3.1.0-2] [MQTT-3.2.0-2]
@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_connect_gets_no_second_connack(version: int) -> None:
    rig = Rig()
    client = rig.online("c", version)
    client.send(Connect("c", version))
    assert reason_of(client) == why(client, Reason.PROTOCOL_ERROR)
    rig.decides = False
    hasty = rig.dial()
    hasty.send(Connect("d", version), Connect("d", version))
    rig.decides = True
    rig.settle()
    assert [isinstance(each, ConnAck) for each in hasty.take()].count(True) == 1
    assert hasty.closed


# [MQTT-3.1.2-3] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [MQTT-3.1.4-1]
# [MQTT-3.1.4-1] of 3.1.1
@pytest.mark.parametrize("flags", [0x03, 0x0A, 0x12, 0x1A, 0x22, 0x1E])
@pytest.mark.parametrize("version", VERSIONS)
def test_flags_that_go_not_together_close(version: int, flags: int) -> None:
    fields = [empty(version) + string(b"will") + string(b"")] if flags & 4 else []
    answer = bytes.fromhex("2003 00 81 00") if version == MQTT_5 else b""
    assert refused(connect(version, flags, *fields)) == answer


# [MQTT-3.1.2-9] [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT-3.1.4-1]
@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        (0x06, []),  # no will
        (0x06, [b"%s" + string(b"topic")]),  # no payload of the will
        (0x02, [string(b"user")]),
        (0x82, []),
        (0x82, [string(b"user"), string(b"password")]),
        (0xC2, [string(b"user")]),
        (0xC2, []),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_flags_say_is_there_and_nothing_else(
    version: int, flags: int, fields: list[bytes]
) -> None:
    made = [each.replace(b"%s", empty(version)) for each in fields]
    answer = bytes.fromhex("2003 00 81 00") if version == MQTT_5 else b""
    assert refused(connect(version, flags, *made)) == answer


# [MQTT-3.1.2-22] of 3.1.1
def test_a_password_without_a_user_name_is_for_mqtt_5() -> None:
    assert refused(connect(MQTT_3_1_1, 0x42, string(b"secret"))) == b""
    client = Rig().dial()
    client.send_bytes(connect(MQTT_5, 0x42, string(b"secret")))
    assert not client.closed


# [MQTT-3.1.3-1] [MQTT-3.1.3-3]
@pytest.mark.parametrize("version", VERSIONS)
def test_the_fields_of_connect_have_an_order(version: int) -> None:
    rig = Rig()
    rig.decides = False
    watcher, client = rig.dial(), rig.dial()
    fields = [empty(version) + string(b"w"), string(b"gone"), string(b"user"), string(b"secret")]
    client.send_bytes(connect(version, 0xC6, *fields))
    ((_, credentials),) = rig.asked
    assert (credentials.client_id, credentials.username, credentials.password) == (
        "c",
        "user",
        b"secret",
    )
    rig.decides = True
    rig.settle()
    watcher.send(Connect("w"))
    watcher.take()
    watcher.subscribe("w")
    client.hang_up()
    assert watcher.messages() == [("w", b"gone")]


# [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12] [MQTT-3.1.4-1]
# [MQTT-3.1.4-1] of 3.1.1
@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"a\x00"])
@pytest.mark.parametrize("version", VERSIONS)
def test_text_in_connect_is_proper_text(version: int, text: bytes) -> None:
    none = empty(version)
    bad_id = string(b"MQTT") + bytes((version, 2)) + b"\x00\x00" + none + string(text)
    for packet in (
        raw(0x10, bad_id),
        connect(version, 0x06, none + string(text), string(b"gone")),
        connect(version, 0x82, string(text)),
    ):
        answer = bytes.fromhex("2003 00 81 00") if version == MQTT_5 else b""
        assert refused(packet) == answer


# [MQTT-3.1.3-5] [MQTT-3.1.3-2]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("client_id", [LETTERS[:23], LETTERS[23:46], LETTERS[46:], "0", "z", "Z"])
def test_client_ids_of_letters_and_digits_name_sessions(client_id: str, version: int) -> None:
    rig = Rig()
    stored(rig, client_id, version).subscribe("a", 1)
    stored(rig, f"{client_id[:-1]}_", version).hang_up()
    (answer,) = rig.connect(client_id, version, clean_start=False, properties=KEPT).take()
    assert isinstance(answer, ConnAck)
    assert (answer.code, answer.session_present) == (0, True)


# [MQTT-3.1.3-10] [MQTT-3.1.2-14] [MQTT-3.3.2-17] [MQTT-3.3.2-18]
def test_a_will_keeps_its_user_properties_and_is_not_retained() -> None:
    rig = Rig()
    watcher = rig.online("w", MQTT_5)
    watcher.subscribe("will", retain_as_published=True)
    pairs = (("b", "1"), ("a", "2"), ("b", "1"), ("", ""))
    last = Will("will", b"gone", properties=Properties(user_properties=pairs))
    rig.online("c", MQTT_5, will=last).hang_up()
    (packet,) = watcher.take()
    assert isinstance(packet, Publish)
    assert packet.properties.user_properties == pairs
    assert not packet.retain
    assert rig.online("late").subscribe("will") == []


# [MQTT-3.1.2-14] [MQTT-3.1.2-15]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("retain", [False, True])
def test_a_will_is_retained_if_it_says_so(version: int, retain: bool) -> None:
    rig = Rig()
    rig.online("c", version, will=will(retain=retain)).hang_up()
    assert len(rig.online("late").subscribe("will")) == retain


# [MQTT-3.1.3-9] [MQTT-3.1.2-10]
@pytest.mark.parametrize("rude", [False, True])
def test_a_delayed_will_is_gone_for_good_once_its_client_is_back(rude: bool) -> None:
    rig = Rig()
    watcher = rig.online("w")
    watcher.subscribe("will")
    stored(rig, "c", MQTT_5, will=will(delay_s=10)).hang_up()
    back = stored(rig, "c", MQTT_5)
    if rude:
        back.hang_up()
    else:
        back.send(Disconnect())
    rig.pass_time(1000)
    assert watcher.messages() == []


# [MQTT-3.1.2-12] of 3.1.1
@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_will_nothing_is_published(version: int) -> None:
    rig = Rig()
    watcher = rig.online("w")
    watcher.subscribe("#")
    rig.online("c", version, will=will()).hang_up()
    assert len(watcher.messages()) == 1
    rig.online("c", version).hang_up()
    assert watcher.messages() == []


# [MQTT-3.1.4-3]
@pytest.mark.parametrize("version", VERSIONS)
def test_the_next_client_of_the_same_id_ends_the_one_before(version: int) -> None:
    rig = Rig()
    first = rig.online("c", version)
    second = rig.online("c", version)
    assert reason_of(first) == why(first, Reason.SESSION_TAKEN_OVER)
    assert not second.closed


# [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-3.2.2-6]
@pytest.mark.parametrize("version", VERSIONS)
def test_session_present_is_all_that_connack_flags_say(version: int) -> None:
    rig = Rig()
    for clean_start, flags in ((False, 0), (False, 1), (True, 0)):
        client = rig.connect("c", version, clean_start=clean_start, properties=KEPT)
        assert client.received[0] == 0x20
        assert client.received[2:4] == bytes((flags, 0))
        client.hang_up()
    rig.refusal = Refusal.NOT_AUTHORIZED
    client = rig.connect("c", version, clean_start=False, properties=KEPT)
    assert client.received == bytes.fromhex("2003 00 87 00" if version == MQTT_5 else "2002 00 05")
    assert client.closed


# [MQTT-3.2.2-8]
@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_is_a_code_of_connack(refusal: Refusal) -> None:
    assert refusal in CODES_5
    for version in VERSIONS:
        rig = Rig()
        rig.refusal = refusal
        (answer,) = rig.connect("c", version).take()
        assert isinstance(answer, ConnAck)
        assert answer.code in (CODES_5 if version == MQTT_5 else range(1, 6))


# [MQTT-3.2.2-8] [MQTT-3.2.2-7] [MQTT-4.13.2-1]
@pytest.mark.parametrize(
    "wrong",
    [
        Connect("a\n", MQTT_5),
        Connect("c", MQTT_5, will=Will("#", b"")),
        Connect("c", MQTT_5, will=Will("a/" * 40, b"")),
        Connect("c", MQTT_5, properties=Properties(authentication_method="unheard of")),
        Connect("c", MQTT_5, properties=Properties(authentication_data=b"x")),
    ],
)
def test_every_fault_of_a_connect_is_a_code_of_connack(wrong: Connect) -> None:
    client = Rig().dial()
    client.send(wrong)
    (answer,) = client.take()
    assert isinstance(answer, ConnAck)
    assert answer.code in CODES_5 - {0}
    assert not answer.session_present
    assert client.closed


# [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-12] [MQTT-3.2.2-13]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_qos_and_retain_is_taken(version: int, qos: int) -> None:
    client = Rig().connect("c", version, will=will(qos=qos, retain=True))
    (answer,) = client.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == 0
    assert answer.properties.maximum_qos is None
    assert answer.properties.retain_available is not False
    client.subscribe("a", qos)


# [MQTT-3.1.2-27]
@pytest.mark.parametrize("maximum", [None, 0])
def test_a_client_without_aliases_is_sent_none(maximum: int | None) -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5, properties=Properties(topic_alias_maximum=maximum))
    client.subscribe("#", 1)
    sender = rig.online("s")
    for qos in (0, 1):
        for _ in range(2):
            sender.publish("a/long/topic", qos=qos)
    got = [each for each in client.take() if isinstance(each, Publish)]
    assert [(each.topic, each.properties.topic_alias) for each in got] == [
        ("a/long/topic", None)
    ] * 4


# [MQTT-4.12.0-1]
def test_an_unheard_of_authentication_method_closes() -> None:
    client = Rig().connect("c", MQTT_5, properties=Properties(authentication_method="unheard of"))
    (answer,) = client.take()
    assert isinstance(answer, ConnAck)
    assert answer.code in {Reason.BAD_AUTHENTICATION_METHOD, Reason.NOT_AUTHORIZED}
    assert client.closed


# [MQTT-4.12.0-6] [MQTT-3.1.2-28]
@pytest.mark.parametrize("asked", [None, False])
def test_what_nobody_asked_for_is_not_in_connack(asked: bool | None) -> None:
    properties = Properties(request_response_information=asked)
    (answer,) = Rig().connect("c", MQTT_5, properties=properties).take()
    assert isinstance(answer, ConnAck)
    assert answer.properties.authentication_method is None
    assert answer.properties.response_information is None


# [MQTT-3.1.2-29]
def test_a_client_that_wants_no_problem_information_gets_none() -> None:
    rig = Rig(Limits(subscriptions=0))
    rig.rules.no_publish.add("no")
    client = rig.online("c", MQTT_5, properties=Properties(request_problem_information=False))
    client.publish("no", qos=1)
    client.publish("no", qos=2)
    client.send_bytes(bytes.fromhex("6202 0009  8207 0001 00 0001 61 00  a206 0001 00 0001 61"))
    answers = client.take()
    assert len(answers) == 5
    for each in answers:
        properties = each.properties  # type: ignore[union-attr]  # all of these have some
        assert properties.reason_string is None
        assert properties.user_properties == ()


# [MQTT-3.14.0-1]
def test_no_disconnect_before_connack() -> None:
    assert refused(encode_packet(PingReq(), MQTT_5)) == b""
    assert refused(encode_packet(Disconnect(), MQTT_5)) == b""
    assert refused(raw(0x10, bytes(200)), Rig(Limits(connect_bytes=100))) == b""
    rig = Rig(Limits(connect_timeout_s=10))
    rig.decides = False
    late, stopped = rig.connect("late", MQTT_5), rig.connect("stopped", MQTT_5)
    rig.pass_time(10)
    rig.core.shut_down(rig.now)
    rig.settle()
    for client in (late, stopped):
        assert client.closed
        assert client.received == b""
