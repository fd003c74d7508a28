"""PUBLISH and its acknowledgements: RETAIN, DUP, aliases, identifiers, the window, sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.quota.limits import Limits
from broker.sessions.outbound import encode_fitting
from broker.wire import decode_packet, encode_packet
from broker.wire.packets import (
    MQTT_5,
    Auth,
    ConnAck,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
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
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.ends import raw, reason_of, string
from tests.unit.broker.rig import VERSIONS, Peer, Rig
from tests.unit.broker.stored_rig import StoredRig


def publishes(peer: Peer) -> list[Publish]:
    return [each for each in peer.take() if isinstance(each, Publish)]


# [MQTT-3.3.1-3]
@pytest.mark.parametrize("hot_path", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_is_not_passed_on(qos: int, version: int, hot_path: bool) -> None:
    rig = Rig(hot_path=hot_path)
    high, low, sender = rig.online("h", version), rig.online("l"), rig.online("s", version)
    high.subscribe("a", 2)
    low.subscribe("a", 0)
    sender.publish("a", qos=qos, duplicate=True)
    assert [(each.qos, each.duplicate) for each in publishes(high)] == [(qos, False)]
    assert [(each.qos, each.duplicate) for each in publishes(low)] == [(0, False)]


# [MQTT-3.3.1-5] [MQTT-3.3.1-8]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_last_message_with_retain_is_kept(version: int, qos: int) -> None:
    rig = Rig()
    sender = rig.online("s", version)
    for packet_id, (payload, retain) in enumerate(
        [(b"1", True), (b"2", True), (b"3", False), (b"", False)], 1
    ):
        options = {"packet_id": packet_id} if qos else {}
        sender.publish("a", payload, qos=qos, retain=retain, **options)
    (packet,) = rig.online("late", version).subscribe("a", 2)
    assert isinstance(packet, Publish)
    assert (packet.payload, packet.qos, packet.retain) == (b"2", qos, True)


# [MQTT-3.3.1-7] of 3.1.1
def test_what_cannot_be_retained_at_qos_0_leaves_nothing_older_behind() -> None:
    rig = Rig(Limits(retained_bytes=1000))
    four, five = rig.online("4"), rig.online("5", MQTT_5)
    five.publish("a", b"old", retain=True)
    five.publish("a", b"x" * 1000, retain=True, qos=1)
    assert five.take() == [PubAck(1, Reason.QUOTA_EXCEEDED)]
    assert len(rig.online("late").subscribe("a")) == 1  # a refused client has changed nothing
    four.publish("a", b"x" * 1000, retain=True)
    assert rig.online("later").subscribe("a") == []
    assert rig.core.counters.retained == 0
    assert rig.core.counters.dropped["retained_full"] == 2


# [MQTT-3.3.1-7] of 3.1.1
def test_nor_does_the_older_one_come_back_after_a_crash() -> None:
    rig = StoredRig(Limits(retained_bytes=1000))
    sender = rig.online("s")
    sender.publish("a", b"old", retain=True)
    rig.commit()
    sender.publish("a", b"x" * 1000, retain=True)
    rig.commit()
    rig.crash()
    late = rig.online("late")
    rig.subscribe(late, "a")
    assert late.take() == []


# [MQTT-3.1.2-7] of 3.1.1
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_retained_outlives_the_session(version: int) -> None:
    rig = Rig()
    sender = rig.online("s", version)
    sender.publish("a", b"kept", retain=True)
    sender.send(Disconnect())
    rig.pass_time(1000)
    assert len(rig.online("s", version).subscribe("a")) == 1


# [MQTT-3.3.2-8]
def test_no_alias_is_0() -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5, properties=Properties(topic_alias_maximum=3))
    client.subscribe("#")
    sender = rig.online("s", MQTT_5)
    for number in range(5):
        sender.publish(f"a/long/topic/{number}")
    assert [each.properties.topic_alias for each in publishes(client)] == [1, 2, 3, None, None]
    sender.send_bytes(raw(0x30, string(b"a") + b"\x03\x23\x00\x00"))
    assert reason_of(sender) == Reason.TOPIC_ALIAS_INVALID


# [MQTT-3.3.4-5]
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_copy_has_the_identifier_of_its_subscription(qos: int) -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5)
    client.subscribe("a", 2, identifiers=(1,))
    client.subscribe("$share/g/+", 2, identifiers=(2,))
    client.subscribe("$share/h/+", 2)
    rig.online("s", MQTT_5).publish("a", qos=qos)
    got = [each.properties.subscription_identifiers for each in publishes(client)]
    assert sorted(got) == [(), (1,), (2,)]


# [MQTT-3.3.4-10] [MQTT-4.9.0-3] [MQTT-4.9.0-2] [MQTT-3.3.4-9]
@pytest.mark.parametrize("granted", [1, 2])
def test_only_messages_wait_for_the_window(granted: int) -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5, properties=Properties(receive_maximum=1))
    client.subscribe("a", granted)
    sender = rig.online("s")
    for number in (1, 2, 3):
        sender.publish("a", b"%d" % number, qos=granted, packet_id=number)
    (first,) = publishes(client)
    client.send(
        PingReq(),
        Subscribe(2, (Subscription("b"),)),
        Unsubscribe(3, ("b",)),
        Publish("b", b"", 1, packet_id=4),
        Publish("b", b"", 2, packet_id=5),
        PubRel(5),
    )
    nobody = Reason.NO_MATCHING_SUBSCRIBERS
    assert client.take() == [
        PingResp(), SubAck(2, (0,)), UnsubAck(3, (0,)), PubAck(4, nobody), PubRec(5, nobody),
        PubComp(5),
    ]  # fmt: skip
    sender.publish("a", b"at once")
    assert client.messages() == [("a", b"at once")]
    if granted == 1:
        client.send(PubAck(first.packet_id or 0))
    else:
        client.send(PubRec(first.packet_id or 0), PubComp(first.packet_id or 0))
    assert [each.payload for each in publishes(client)] == [b"2"]


TEXT = Properties(reason_string="because " * 5)
PAIRS = Properties(user_properties=(("a", "b" * 40),))


# [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3]
# [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2]
# [MQTT-3.11.2-1] [MQTT-3.11.2-2] [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.15.2-2]
# [MQTT-3.15.2-3]
@pytest.mark.parametrize("properties", [TEXT, PAIRS])
@pytest.mark.parametrize(
    "packet",
    [
        ConnAck(0x80),
        PubAck(1, Reason.QUOTA_EXCEEDED),
        PubRec(1, Reason.QUOTA_EXCEEDED),
        PubRel(1, Reason.PACKET_ID_NOT_FOUND),
        PubComp(1, Reason.PACKET_ID_NOT_FOUND),
        SubAck(1, (0x80,)),
        UnsubAck(1, (0x80,)),
        Disconnect(Reason.PROTOCOL_ERROR),
        Auth(Reason.CONTINUE_AUTHENTICATION),
    ],
)
def test_text_for_people_is_left_out_rather_than_too_large(
    packet: Any, properties: Properties
) -> None:
    wordy: Packet = replace(packet, properties=properties)
    made = {}
    for limit in (100, 60, 25):
        client = Rig().online("c", MQTT_5)
        client.client.max_packet_bytes = limit
        encoded = encode_fitting(wordy, client.client)
        assert encoded is not None
        assert len(encoded) <= limit
        made[limit] = decode_packet(encoded, MQTT_5)
    assert made[100] == made[60] == (wordy, len(encode_packet(wordy, MQTT_5)))
    assert made[25] == (packet, len(encode_packet(packet, MQTT_5)))
