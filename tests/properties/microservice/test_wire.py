"""Packets of the kit's client, read and written by the broker's codec, which is another one."""

from hypothesis import given
from hypothesis import strategies as st

from broker.wire import decode_packet, encode_packet
from broker.wire.packets import (
    MQTT_5,
    ConnAck,
    Connect,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Subscription,
    Unsubscribe,
)
from broker.wire.property_values import NO_PROPERTIES as NONE
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from microservice.mqtt import wire
from microservice.mqtt.client import ClientLogin, MqttClient
from microservice.mqtt.wire import Answer, FilterOptions, Incoming, MessageProperties

texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)
names = st.text("abc/", min_size=1, max_size=200)
pairs = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
properties = st.builds(
    MessageProperties,
    user=pairs,
    content_type=texts,
    response_topic=st.text("ab", max_size=5),
    correlation=st.binary(max_size=20),
    expiry_s=st.none() | st.integers(0, 2**32 - 1),
)
packet_ids = st.integers(1, 65_535)


def read(raw: bytes) -> object:
    decoded = decode_packet(raw, MQTT_5)
    assert decoded is not None
    assert decoded[1] == len(raw)
    return decoded[0]


class Events:
    def __init__(self) -> None:
        self.messages: list[Incoming] = []
        self.answers: list[Answer] = []

    def connected(self, answer: Answer) -> None:
        self.answers.append(answer)

    def received(self, message: Incoming) -> None:
        self.messages.append(message)

    def disconnected(self, code: int) -> None:
        self.answers.append(Answer(wire.DISCONNECT, codes=(code,)))


def as_broker(given: MessageProperties) -> Properties:
    return Properties(
        user_properties=given.user,
        content_type=given.content_type or None,
        response_topic=given.response_topic or None,
        correlation_data=given.correlation or None,
        message_expiry_s=given.expiry_s,
    )


@given(names, st.binary(max_size=300), st.integers(0, 1), st.booleans(), packet_ids, properties)
def test_the_broker_reads_a_publish(
    topic: str, payload: bytes, qos: int, retain: bool, packet_id: int, given: MessageProperties
) -> None:
    raw = wire.encode_publish(
        topic, payload, qos=qos, retain=retain, packet_id=packet_id, properties=given
    )
    expected = Publish(
        topic, payload, qos, retain, False, packet_id if qos else None, as_broker(given)
    )
    assert read(raw) == expected


@given(
    st.lists(
        st.tuples(
            names, st.binary(max_size=300), st.integers(0, 1), st.booleans(), packet_ids, properties
        ),
        max_size=5,
    ),
    st.lists(st.integers(1, 400), max_size=10),
)
def test_the_client_reads_messages_cut_anywhere(
    sent: list[tuple[str, bytes, int, bool, int, MessageProperties]], cuts: list[int]
) -> None:
    raw = b"".join(
        encode_packet(
            Publish(topic, payload, qos, retain, False, number if qos else None, as_broker(given)),
            MQTT_5,
        )
        for topic, payload, qos, retain, number, given in sent
    )
    events = Events()
    client = MqttClient(ClientLogin("c", "u", "p", 60, 10, 1), events)
    for cut in cuts:
        client.feed(raw[:cut]) if raw[:cut] else None
        raw = raw[cut:]
    if raw:
        client.feed(raw)
    assert [
        (m.topic, m.payload, m.qos, m.retain, m.packet_id, m.properties) for m in events.messages
    ] == [(t, p, q, r, n if q else 0, g) for t, p, q, r, n, g in sent]


@given(texts, texts, texts, st.integers(0, 65_535), st.integers(1, 65_535))
def test_the_broker_reads_a_connect(
    client_id: str, user: str, password: str, keep_alive_s: int, window: int
) -> None:
    raw = wire.encode_connect(client_id, user, password, keep_alive_s, window, 2**32 - 1)
    assert read(raw) == Connect(
        client_id, MQTT_5, False, keep_alive_s, None, user, password.encode(),
        Properties(session_expiry_s=2**32 - 1, receive_maximum=window),
    )  # fmt: skip


@given(
    st.lists(
        st.tuples(
            names,
            st.builds(
                FilterOptions,
                qos=st.integers(0, 1),
                no_local=st.booleans(),
                retain_handling=st.integers(0, 2),
            ),
        ),
        min_size=1,
        max_size=5,
    ),
    packet_ids,
)
def test_the_broker_reads_subscriptions(
    asked: list[tuple[str, FilterOptions]], packet_id: int
) -> None:
    assert read(wire.encode_subscribe(packet_id, asked)) == Subscribe(
        packet_id,
        tuple(
            Subscription(topic, each.qos, each.no_local, False, each.retain_handling)
            for topic, each in asked
        ),
    )
    filters = tuple(topic for topic, _ in asked)
    assert read(wire.encode_unsubscribe(packet_id, filters)) == Unsubscribe(packet_id, filters)


@given(st.binary(max_size=60))
def test_any_bytes_give_packets_or_a_wire_error(raw: bytes) -> None:
    client = MqttClient(ClientLogin("c", "u", "p", 60, 10, 1), Events())
    try:
        client.feed(raw) if raw else None
    except wire.WireError:
        return


def test_answers_of_the_broker_are_read() -> None:
    events = Events()
    client = MqttClient(ClientLogin("c", "u", "p", 60, 10, 1), events)
    limits = Properties(receive_maximum=7, maximum_packet_bytes=99, server_keep_alive_s=5)
    client.feed(encode_packet(ConnAck(0, True, limits), MQTT_5))
    assert events.answers[0] == Answer(
        wire.CONNACK, 0, (0,), True, receive_maximum=7, packet_limit=99, keep_alive_s=5
    )
    answered: list[Answer | None] = []
    client.subscribe([("a", FilterOptions())], answered.append)
    client.feed(encode_packet(SubAck(1, (0, 0x87)), MQTT_5))
    client.publish("t", b"", retain=False, properties=wire.NO_PROPERTIES, done=answered.append)
    why = Properties(reason_string="no")
    client.feed(encode_packet(PubAck(2, Reason.QUOTA_EXCEEDED, why), MQTT_5))
    assert answered == [
        Answer(wire.SUBACK, 1, (0, 0x87)),
        Answer(wire.PUBACK, 2, (0x97,), reason="no"),
    ]
    assert Properties() == NONE
