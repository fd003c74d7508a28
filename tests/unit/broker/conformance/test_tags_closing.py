"""The broker ends a connection with one DISCONNECT and a fitting reason, and sends nothing more."""

import pytest

from broker.quota.limits import Limits
from broker.wire import decode_packet
from broker.wire.packets import MQTT_3_1_1, MQTT_5, Disconnect, PingReq
from broker.wire.property_values import NO_PROPERTIES, Properties
from tests.unit.broker.ends import empty, raw, reason_of, string
from tests.unit.broker.rig import VERSIONS, Peer, Rig

# a server's permitted codes, MQTT 5, section 3.14.2.1
CODES = {0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, *range(0x8D, 0x91), *range(0x93, 0xA3)}

FAULTS = [
    raw(0x00),
    raw(0x10, string(b"MQTT") + b"\x05\x02\x00\x00\x00" + string(b"c")),
    raw(0x20, b"\x00\x00\x00"),
    raw(0x30, string(b"") + b"\x00"),
    raw(0x30, string(b"#") + b"\x00"),
    raw(0x30, string(b"/" * 50) + b"\x00"),
    raw(0x30, string(b"a") + b"\x02\x0b\x01"),
    raw(0x30, string(b"") + b"\x03\x23\x00\x01"),
    raw(0x30, string(b"") + b"\x03\x23\xff\xff"),
    raw(0x30, string(b"a") + b"\x01\x7f"),
    raw(0x30, string(b"a") + b"\x02\x01\x02"),
    raw(0x30, string(b"a") + b"\x04\x01\x00\x01\x00"),
    raw(0x36, string(b"a") + b"\x00\x01\x00"),
    raw(0x40, b"\x00\x00"),
    raw(0x62, b"\x00\x01\x55"),
    raw(0x82, b"\x00\x01\x00" + string(b"a#") + b"\x00"),
    raw(0x82, b"\x00\x01\x00" + string(b"$share/g/a") + b"\x04"),
    raw(0x82, b"\x00\x01\x02\x0b\x00" + string(b"a") + b"\x00"),
    raw(0xA2, b"\x00\x01\x00"),
    raw(0xC0, b"x"),
    raw(0xE0, b"\x03"),
    raw(0xE0, b"\x00\x05\x11\x00\x00\x00\x09"),
    b"\x30\xff\xff\xff\x7f",
    b"\x30\xff\xff\xff\xff\x01",
]


def watched(fault: bytes, version: int) -> tuple[Rig, Peer, Peer]:
    """Return a rig in which a client has sent a fault, with a question behind it."""
    rig = Rig(Limits(topic_levels=32, packet_bytes=10_000))
    client, other = rig.online("c", version), rig.online("o", version)
    client.subscribe("news", 1)
    client.send_bytes(fault + b"\xc0\x00")
    return rig, client, other


# [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.1-1] [MQTT-4.13.2-1]
@pytest.mark.parametrize("fault", FAULTS, ids=bytes.hex)
def test_a_fault_is_told_and_closes_that_connection_only(fault: bytes) -> None:
    rig, client, other = watched(fault, MQTT_5)
    assert client.closed
    other.publish("news", qos=1)
    other.publish("news")
    rig.pass_time(1)
    decoded = decode_packet(client.received, MQTT_5)
    assert decoded is not None
    packet, size = decoded
    assert size == len(client.received)
    assert isinstance(packet, Disconnect)
    assert packet.reason in CODES
    assert packet.reason >= 0x80
    assert packet.properties.session_expiry_s is None
    assert not other.closed


# [MQTT-4.13.1-1] [MQTT-3.14.4-2]
@pytest.mark.parametrize(
    "fault",
    [
        raw(0x00),
        raw(0xF0),
        raw(0x20, b"\x00\x00"),
        raw(0x30, string(b"")),
        raw(0x30, string(b"a/+")),
        raw(0x36, string(b"a") + b"\x00\x01"),
        raw(0x82, b"\x00\x01" + string(b"a/b#") + b"\x00"),
        raw(0xC0, b"x"),
        b"\x30\xff\xff\xff\xff\x01",
    ],
    ids=bytes.hex,
)
def test_a_fault_closes_a_3_1_1_client_without_a_word(fault: bytes) -> None:
    _, client, other = watched(fault, MQTT_3_1_1)
    assert reason_of(client) is None
    assert not other.closed


# [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1]
def test_what_the_broker_says_when_it_ends_a_connection_by_itself() -> None:
    rig = Rig()
    kept = Properties(session_expiry_s=100)
    clients = [
        rig.online(name, MQTT_5, name=name, keep_alive_s=10 * (name == "silent"), properties=kept)
        for name in ("silent", "old", "cut", "last")
    ]
    rig.online("old", MQTT_5, name="old")
    rig.core.admin.disconnect("cut", rig.now)
    rig.settle()
    rig.pass_time(60)
    rig.core.shut_down(rig.now)
    rig.settle()
    assert [reason_of(each) for each in clients] == [0x8D, 0x8E, 0x98, 0x8B]
    for each in clients:
        each.send_bytes(b"\xc0\x00")
        assert each.received == b""


# [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.1.2-24]
def test_a_disconnect_leaves_its_text_out_rather_than_become_too_large() -> None:
    packets = []
    for size in (200, 10):
        asked = Properties(request_problem_information=True)
        client = Rig().online("c", MQTT_5, properties=asked)
        client.client.max_packet_bytes = size  # a CONNACK would not fit in so little
        client.send_bytes(raw(0x00))
        assert len(client.received) <= size
        packets += client.take()
    wordy, short = packets
    assert isinstance(wordy, Disconnect)
    assert wordy.properties.reason_string
    assert short == Disconnect(wordy.reason, NO_PROPERTIES)


# [MQTT-3.12.4-1]
@pytest.mark.parametrize("version", VERSIONS)
def test_every_ping_is_answered(version: int) -> None:
    client = Rig().online("c", version)
    client.send(*[PingReq()] * 3)
    assert client.received == b"\xd0\x00" * 3


# [MQTT-3.14.4-3] [MQTT-3.1.2-10]
@pytest.mark.parametrize(
    ("version", "body"),
    [(MQTT_3_1_1, b""), (MQTT_5, b""), (MQTT_5, b"\x00"), (MQTT_5, b"\x00\x00")],
)
def test_a_normal_disconnect_takes_the_will_back(version: int, body: bytes) -> None:
    rig = Rig()
    watcher = rig.online("w")
    watcher.subscribe("will")
    client = rig.dial()
    client.version = version
    will = empty(version) + string(b"will") + string(b"gone")
    head = string(b"MQTT") + bytes((version, 0x06)) + b"\x00\x00" + empty(version)
    client.send_bytes(raw(0x10, head + string(b"c") + will))
    client.send_bytes(raw(0xE0, body))
    assert client.closed
    rig.pass_time(1000)
    assert watcher.messages() == []
