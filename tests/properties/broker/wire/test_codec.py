"""Any bytes give packets or a RemoteProtocolError; any packet survives its bytes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.wire import decode_packet, encode_length, encode_packet, packets
from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import MQTT_3_1_1, MQTT_5, PacketType
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason

LIMIT = 1000

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9)
binary = st.binary(max_size=9)
two = st.integers(0, 65_535)
one_up = st.integers(1, 65_535)
four = st.integers(0, 0xFFFF_FFFF)
pairs = st.lists(st.tuples(text, text), max_size=3).map(tuple)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def properties(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Properties]:
    made = st.builds(Properties, user_properties=pairs, **fields)
    return made.map(lambda each: NO_PROPERTIES if each == NO_PROPERTIES else each)


message = {
    "payload_format": maybe(st.booleans()),
    "message_expiry_s": maybe(four),
    "content_type": maybe(text),
    "response_topic": maybe(text),
    "correlation_data": maybe(binary),
}
wills = st.builds(
    packets.Will,
    text,
    binary,
    st.integers(0, 2),
    st.booleans(),
    properties(**message, will_delay_s=maybe(four)),
)
publishes = st.integers(0, 2).flatmap(
    lambda qos: st.builds(
        packets.Publish,
        text,
        st.binary(max_size=300),
        st.just(qos),
        st.booleans(),
        st.booleans() if qos else st.just(False),
        one_up if qos else st.none(),
        properties(
            **message,
            topic_alias=maybe(one_up),
            subscription_identifiers=st.lists(st.integers(1, 268_435_455), max_size=3).map(tuple),
        ),
    )
)
answer = properties(reason_string=maybe(text))
subscriptions = st.builds(
    packets.Subscription, text, st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 2)
)
any_packet = st.one_of(
    st.builds(
        packets.Connect,
        client_id=text,
        version=st.just(MQTT_5),
        clean_start=st.booleans(),
        keep_alive_s=two,
        will=maybe(wills),
        username=maybe(text),
        password=maybe(binary),
        properties=properties(session_expiry_s=maybe(four), receive_maximum=maybe(one_up)),
    ),
    st.builds(packets.ConnAck, st.integers(0, 255), st.booleans(), answer),
    publishes,
    st.builds(packets.PubAck, one_up, st.sampled_from([Reason.SUCCESS, Reason(0x97)]), answer),
    st.builds(packets.PubRec, one_up, st.sampled_from([Reason.SUCCESS, Reason(0x91)]), answer),
    st.builds(packets.PubRel, one_up, st.sampled_from([Reason.SUCCESS, Reason(0x92)]), answer),
    st.builds(packets.PubComp, one_up, st.sampled_from([Reason.SUCCESS, Reason(0x92)]), answer),
    st.builds(
        packets.Subscribe, one_up, st.lists(subscriptions, min_size=1, max_size=3).map(tuple)
    ),
    st.builds(packets.SubAck, one_up, st.lists(st.sampled_from([0, 1, 0x87])).map(tuple), answer),
    st.builds(packets.Unsubscribe, one_up, st.lists(text, min_size=1, max_size=3).map(tuple)),
    st.builds(packets.UnsubAck, one_up, st.lists(st.sampled_from([0, 0x11])).map(tuple), answer),
    st.just(packets.PingReq()),
    st.just(packets.PingResp()),
    st.builds(packets.Disconnect, st.sampled_from([Reason(0), Reason(0x8E)]), answer),
    st.builds(packets.Auth, st.sampled_from([Reason(0), Reason(0x18)]), answer),
)


@given(any_packet)
def test_any_packet_survives(packet: packets.Packet) -> None:
    encoded = encode_packet(packet, MQTT_5)
    assert decode_packet(encoded, MQTT_5) == (packet, len(encoded))


@given(any_packet, st.data())
def test_any_part_of_a_packet_is_incomplete(packet: packets.Packet, data: st.DataObject) -> None:
    encoded = encode_packet(packet, MQTT_5)
    size = data.draw(st.integers(0, len(encoded) - 1))
    assert decode_packet(encoded[:size], MQTT_5) is None


@given(st.binary(max_size=200), st.sampled_from([MQTT_3_1_1, MQTT_5]))
def test_any_bytes_give_a_packet_or_a_fault_of_the_peer(data: bytes, version: int) -> None:
    try:
        decode_packet(data, version, LIMIT)
    except RemoteProtocolError as exc:
        reason = exc.reason
    else:
        return
    assert reason >= Reason.UNSPECIFIED_ERROR


@given(
    st.sampled_from(list(PacketType)),
    st.integers(0, 15),
    st.binary(max_size=60),
    st.sampled_from([MQTT_3_1_1, MQTT_5]),
)
def test_any_body_gives_a_packet_that_survives_or_a_fault_of_the_peer(
    packet_type: PacketType, flags: int, body: bytes, version: int
) -> None:
    encoded = bytes((packet_type << 4 | flags,)) + encode_length(len(body)) + body
    try:
        decoded = decode_packet(encoded, version)
    except RemoteProtocolError:
        return
    assert decoded is not None
    packet, used = decoded
    assert used == len(encoded)
    assert decode_packet(encode_packet(packet, version), version) is not None
