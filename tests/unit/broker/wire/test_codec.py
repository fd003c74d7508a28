import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from broker.wire import (
    decode_length,
    decode_packet,
    encode_length,
    encode_packet,
    packets,
    peek_version,
)
from broker.wire.errors import LocalProtocolError, RemoteProtocolError
from broker.wire.packets import (
    MQTT_5,
    Connect,
    Disconnect,
    Publish,
    Subscription,
    Will,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "mqtt_packets.json").read_text())
NESTED = {"will": Will, "properties": Properties, "subscriptions": Subscription}
BYTES = {"payload", "password", "correlation_data", "authentication_data"}


def build(kind: type, values: dict[str, Any]) -> Any:
    """Make a packet of the fields in a vector."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name in BYTES:
            made[name] = bytes.fromhex(value)
        elif name == "subscriptions":
            made[name] = tuple(build(Subscription, each) for each in value)
        elif name in NESTED:
            made[name] = build(NESTED[name], value)
        elif isinstance(value, list):
            made[name] = tuple(tuple(each) if isinstance(each, list) else each for each in value)
        else:
            made[name] = value
    return kind(**made)


def named(name: str) -> list[Any]:
    return [pytest.param(each, id=each["name"]) for each in VECTORS[name]]


@pytest.mark.parametrize("vector", named("packets"))
def test_packets_are_read_and_written_as_in_the_vectors(vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["hex"])
    packet = build(getattr(packets, vector["type"]), vector["fields"])
    assert decode_packet(encoded, vector["level"]) == (packet, len(encoded))
    if vector.get("reencodes", True):
        assert encode_packet(packet, vector["level"]) == encoded
    again = encode_packet(packet, vector["level"])
    assert decode_packet(again, vector["level"]) == (packet, len(encoded))


@pytest.mark.parametrize("vector", named("packets"))
def test_a_part_of_a_packet_is_no_packet_yet(vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["hex"])
    for size in range(len(encoded)):
        assert decode_packet(encoded[:size], vector["level"]) is None


@pytest.mark.parametrize("vector", named("packets"))
def test_a_packet_cut_short_inside_is_malformed(vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["hex"])
    for size in range(len(encoded) - 2):
        try:
            decoded = decode_packet(
                encoded[:1] + encode_length(size) + encoded[2 : 2 + size], vector["level"]
            )
        except RemoteProtocolError:
            continue
        assert decoded is not None  # MQTT allows to leave something out, or it is payload


@pytest.mark.parametrize("vector", named("refused"))
def test_what_breaks_a_rule_is_refused_with_its_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_packet(bytes.fromhex(vector["hex"]), vector["level"])
    assert caught.value.reason == vector["reason"]


def test_every_packet_type_has_a_vector() -> None:
    types = {vector["type"].upper() for vector in VECTORS["packets"]}
    assert types == {kind.name for kind in packets.PacketType}


# [MQTT-1.5.5-1]
@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001"),
     (2_097_151, "ffff7f"), (2_097_152, "80808001"), (268_435_455, "ffffff7f")],
)  # fmt: skip
def test_lengths_as_in_table_2_4_of_the_standard(value: int, encoded: str) -> None:
    assert encode_length(value).hex() == encoded
    assert decode_length(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)


def test_all_properties_survive() -> None:
    will = Properties(will_delay_s=1, payload_format=False)
    connect = Properties(
        session_expiry_s=1,
        authentication_method="m",
        authentication_data=b"d",
        request_problem_information=True,
        request_response_information=False,
        receive_maximum=2,
        topic_alias_maximum=3,
        maximum_packet_bytes=4,
        user_properties=(("a", "b"), ("a", "c")),
    )
    connack = Properties(
        server_keep_alive_s=1,
        response_information="r",
        server_reference="s",
        reason_string="x",
        maximum_qos=False,
        retain_available=True,
        wildcards_available=True,
        subscription_ids_available=False,
        shared_subscriptions_available=True,
        assigned_client_id="c",
    )
    publish = Properties(
        content_type="t",
        response_topic="r",
        correlation_data=b"",
        subscription_identifiers=(1, 268_435_455),
        topic_alias=1,
        message_expiry_s=0,
    )
    for packet in (
        Connect("c", MQTT_5, will=Will("w", b"", properties=will), properties=connect),
        packets.ConnAck(properties=connack),
        Publish("a", b"", properties=publish),
    ):
        encoded = encode_packet(packet, MQTT_5)
        assert decode_packet(encoded, MQTT_5) == (packet, len(encoded))
    used = set()
    for each in (will, connect, connack, publish):
        used |= {f.name for f in fields(each) if getattr(each, f.name) not in (None, ())}
    assert used == {f.name for f in fields(Properties)}


# [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-2.2.1-2] [MQTT-4.7.3-3]
@pytest.mark.parametrize(
    "packet",
    [
        Publish("a", b"", qos=1),
        Publish("a\x00", b""),
        Publish("\ud800", b""),
        Publish("a" * 65_536, b""),
        Publish("a", b"", properties=Properties(session_expiry_s=1)),
        Connect("c", version=6),
    ],
)
def test_what_cannot_be_sent_is_an_error_of_the_caller(packet: Publish | Connect) -> None:
    with pytest.raises(LocalProtocolError):
        encode_packet(packet, MQTT_5)


def test_too_long_a_length_cannot_be_sent() -> None:
    with pytest.raises(LocalProtocolError):
        encode_length(268_435_456)


def test_a_limit_is_kept_before_the_packet_is_whole() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_packet(b"\x30\x80\x01", 4, limit_bytes=100)


def test_the_version_of_a_damaged_connect_is_found() -> None:
    assert peek_version(bytes.fromhex("00044d51545405")) == 5
    assert peek_version(b"\x00") is None


def test_3_1_1_has_a_disconnect_without_a_reason() -> None:
    assert encode_packet(Disconnect(Reason.PROTOCOL_ERROR), 4) == b"\xe0\x00"
