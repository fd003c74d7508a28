"""The form of packets: text, lengths, flags, packet ids. Bytes in, bytes out."""

import pytest

from broker.wire import decode_packet, encode_packet
from broker.wire.errors import LocalProtocolError
from broker.wire.packets import MQTT_3_1_1, MQTT_5, Publish
from broker.wire.reasons import Reason
from tests.unit.broker.ends import empty, raw, reason_of, string, why
from tests.unit.broker.rig import VERSIONS, Rig

ID = b"\x00\x07"
ILL_FORMED = [b"a\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xe2\x82"]
NULL = b"a\x00b"


def with_text(version: int, text: bytes) -> list[bytes]:
    """Return packets that hold a text, where the version has one."""
    none = empty(version)
    return [
        raw(0x30, string(text) + none + b"x"),
        raw(0x32, string(text) + ID + none + b"x"),
        raw(0x34, string(text) + ID + none + b"x"),
        raw(0x31, string(text) + none + b"x"),
        raw(0x82, ID + none + string(text) + b"\x00"),
        raw(0xA2, ID + none + string(text)),
    ]


# [MQTT-1.5.4-1] [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.13.1-1]
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("text", ILL_FORMED)
def test_text_that_is_not_utf_8_closes(text: bytes, version: int, hot_path: bool) -> None:
    for packet in with_text(version, text):
        client = Rig(hot_path=hot_path).online("c", version)
        client.send_bytes(packet)
        assert reason_of(client) == why(client, Reason.MALFORMED_PACKET)


# [MQTT-1.5.4-2] [MQTT-4.7.3-2]
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_text_with_a_null_closes(version: int, hot_path: bool) -> None:
    for packet in with_text(version, NULL):
        client = Rig(hot_path=hot_path).online("c", version)
        client.send_bytes(packet)
        assert reason_of(client) == why(client, Reason.MALFORMED_PACKET)


# [MQTT-1.5.4-3]
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_zero_width_space_is_a_character(version: int, hot_path: bool) -> None:
    rig = Rig(hot_path=hot_path)
    marked, bare = rig.online("marked", version), rig.online("bare", version)
    marked.subscribe("\ufeffa")
    bare.subscribe("a")
    sender = rig.online("s", version)
    sender.send_bytes(raw(0x30, string(b"\xef\xbb\xbfa") + empty(version) + b"x"))
    assert marked.messages() == [("\ufeffa", b"x")]
    assert bare.messages() == []


# [MQTT-1.5.7-1] [MQTT-3.3.2-13] [MQTT-3.3.2-19]
@pytest.mark.parametrize("text", [*ILL_FORMED, NULL])
@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (b"\x26", string(b"value")),  # the first half of a user property
        (b"\x26" + string(b"key"), b""),
        (b"\x08", b""),  # response topic
        (b"\x03", b""),  # content type
    ],
)
def test_properties_that_are_no_text_close(before: bytes, behind: bytes, text: bytes) -> None:
    properties = before + string(text) + behind
    client = Rig().online("c", MQTT_5)
    client.send_bytes(raw(0x30, string(b"a") + bytes((len(properties),)) + properties))
    assert reason_of(client) == Reason.MALFORMED_PACKET


# [MQTT-1.5.5-1]
@pytest.mark.parametrize(
    "packet",
    ["c08000", "c0808000", "30850000016100 78", "3007 0001 61 8000 7878", "e0030080 00"],
)
def test_a_length_that_could_be_shorter_closes(packet: str) -> None:
    client = Rig().online("c", MQTT_5)
    client.send_bytes(bytes.fromhex(packet))
    assert reason_of(client) == Reason.MALFORMED_PACKET


BODIES = {
    4: (0, ID), 5: (0, ID), 6: (2, ID), 7: (0, ID), 8: (2, ID + b"%s" + string(b"a") + b"\x00"),
    10: (2, ID + b"%s" + string(b"a")), 12: (0, b""), 14: (0, b""), 15: (0, b"\x19\x00"),
}  # fmt: skip


# [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1]
# [MQTT-2.2.2-2] of 3.1.1
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("version", VERSIONS)
def test_reserved_flags_close(version: int, kind: int, hot_path: bool) -> None:
    right, body = BODIES[kind]
    for flags in set(range(16)) - {right}:
        client = Rig(hot_path=hot_path).online("c", version)
        client.send_bytes(raw(kind << 4 | flags, body.replace(b"%s", empty(version))))
        assert reason_of(client) == why(client, Reason.MALFORMED_PACKET)


# [MQTT-2.1.3-1] [MQTT-3.6.1-1]
@pytest.mark.parametrize("version", VERSIONS)
def test_the_flags_of_what_the_broker_sends(version: int) -> None:
    rig = Rig()
    client = rig.connect("c", version)
    assert client.received[0] == 0x20
    client.take()
    none = empty(version)
    for packet, first in (
        (raw(0x82, ID + none + string(b"a") + b"\x02"), 0x90),
        (raw(0xA2, ID + none + string(b"b")), 0xB0),
        (raw(0x32, string(b"x") + ID + none), 0x40),
        (raw(0x34, string(b"x") + ID + none), 0x50),
        (raw(0x62, ID), 0x70),
        (raw(0xC0), 0xD0),
    ):
        client.send_bytes(packet)
        assert client.received[0] == first
        client.take()
    rig.online("s").publish("a", qos=2)
    assert client.received[0] == 0x34
    (packet_2,) = client.take()
    assert isinstance(packet_2, Publish)
    client.send_bytes(raw(0x50, (packet_2.packet_id or 0).to_bytes(2, "big")))
    assert client.received[0] == 0x62


# [MQTT-3.3.1-2] [MQTT-3.3.1-4]
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("first", [0x36, 0x37, 0x3E, 0x3F, 0x38, 0x39])
def test_no_qos_3_and_no_dup_at_qos_0(first: int, version: int, hot_path: bool) -> None:
    client = Rig(hot_path=hot_path).online("c", version)
    client.send_bytes(raw(first, string(b"a") + ID + empty(version) + b"x"))
    assert reason_of(client) == why(client, Reason.MALFORMED_PACKET)


# [MQTT-3.8.3-5]; [MQTT-3.8.3-4] of 3.1.1
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", [0x03, 0x40, 0x80, 0xC1, 0x30])
def test_reserved_subscription_options_close(options: int, version: int) -> None:
    client = Rig().online("c", version)
    client.send_bytes(raw(0x82, ID + empty(version) + string(b"a") + bytes((options,))))
    is_value = options in {0x03, 0x30}  # in MQTT 5 the bits are right, what they say is not
    reason = Reason.PROTOCOL_ERROR if is_value else Reason.MALFORMED_PACKET
    assert reason_of(client) == why(client, reason)


# [MQTT-3.8.3-4] of 3.1.1
@pytest.mark.parametrize("options", [0x04, 0x08, 0x10, 0x20])
def test_3_1_1_has_no_subscription_options_but_the_qos(options: int) -> None:
    client = Rig().online("c", MQTT_3_1_1)
    client.send_bytes(raw(0x82, ID + string(b"a") + bytes((options,))))
    assert reason_of(client) is None


# [MQTT-2.2.1-3]
# [MQTT-2.3.1-1] of 3.1.1
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", range(5))
def test_packet_id_0_closes(kind: int, version: int, hot_path: bool) -> None:
    none = empty(version)
    packet = (
        raw(0x32, string(b"a") + b"\x00\x00" + none + b"x"),
        raw(0x34, string(b"a") + b"\x00\x00" + none + b"x"),
        raw(0x82, b"\x00\x00" + none + string(b"a") + b"\x00"),
        raw(0xA2, b"\x00\x00" + none + string(b"a")),
        raw(0x62, b"\x00\x00"),
    )[kind]
    client = Rig(hot_path=hot_path).online("c", version)
    client.send_bytes(packet)
    assert reason_of(client) == why(client, Reason.MALFORMED_PACKET)


# [MQTT-2.2.1-2] [MQTT-2.2.2-1] [MQTT-4.3.1-1]
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_qos_0_message_has_no_packet_id_and_no_properties_are_a_0(
    version: int, retain: bool, hot_path: bool
) -> None:
    rig = Rig(hot_path=hot_path)
    client, sender = rig.online("c", version), rig.online("s", version)
    client.subscribe("a", 2)
    sender.publish("a", b"x", retain=retain)
    expected = "3005 0001 61 00 78" if version == MQTT_5 else "3004 0001 61 78"
    assert client.received == bytes.fromhex(expected)


# [MQTT-2.2.2-1] [MQTT-3.8.4-1]
@pytest.mark.parametrize("version", VERSIONS)
def test_answers_without_properties_say_so(version: int) -> None:
    client = Rig().online("c", version)
    client.send_bytes(raw(0x82, ID + empty(version) + string(b"a") + b"\x01"))
    client.send_bytes(raw(0xA2, ID + empty(version) + string(b"a")))
    expected = "9004 0007 00 01  b004 0007 00 00" if version == MQTT_5 else "9003 0007 01 b002 0007"
    assert client.received == bytes.fromhex(expected)


# [MQTT-3.8.3-2] [MQTT-3.10.3-2]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("first", [0x82, 0xA2])
def test_a_request_without_a_filter_closes(first: int, version: int) -> None:
    client = Rig().online("c", version)
    client.send_bytes(raw(first, ID + empty(version)))
    assert reason_of(client) == why(client, Reason.PROTOCOL_ERROR)


# [MQTT-4.7.3-3]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
def test_the_longest_text_is_read_and_written(qos: int, version: int) -> None:
    topic = "\u00f6" * 32_767 + "x"
    packet = Publish(topic, b"1", qos, packet_id=1 if qos else None)
    body = string(topic.encode()) + b"\x00\x01" * qos + empty(version) + b"1"
    encoded = raw(0x30 | qos << 1, body)
    assert encode_packet(packet, version) == encoded
    assert decode_packet(encoded, version) == (packet, len(encoded))
    with pytest.raises(LocalProtocolError):
        encode_packet(Publish(f"{topic}x", b""), version)


# [MQTT-4.7.3-4]
@pytest.mark.parametrize("version", VERSIONS)
def test_names_that_look_alike_are_different(version: int) -> None:
    rig = Rig()
    names = ["\u00e9", "e\u0301", "A", "a", "a/", "/a", "a//b", "a/b", "\u212b", "\u00c5"]
    peers = {name: rig.online(f"c{at}", version) for at, name in enumerate(names)}
    for name, peer in peers.items():
        peer.subscribe(name)
    sender = rig.online("s", version)
    for name in names:
        sender.publish(name, name.encode())
    for name, peer in peers.items():
        assert peer.messages() == [(name, name.encode())]
