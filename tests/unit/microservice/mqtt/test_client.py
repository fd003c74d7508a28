"""The state of the kit's MQTT client, against the broker's codec."""

import pytest

from broker.wire import decode_packet, encode_packet
from broker.wire.packets import (
    MQTT_5,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from microservice.errors import PublishError, PublishSizeError
from microservice.mqtt.client import PUBLISH_LIMIT, PUBLISH_LIMIT_BYTES, ClientLogin, MqttClient
from microservice.mqtt.wire import NO_PROPERTIES, Answer, FilterOptions, Incoming, WireError


class Rig:
    """A client and the events it has reported."""

    def __init__(self) -> None:
        self.client = MqttClient(ClientLogin("c", "u", "secret", 60, 10, 99), self)
        self.answers: list[Answer] = []
        self.messages: list[Incoming] = []
        self.codes: list[int] = []
        self.ends: list[Answer | None] = []

    def connected(self, answer: Answer) -> None:
        self.answers.append(answer)

    def received(self, message: Incoming) -> None:
        self.messages.append(message)

    def disconnected(self, code: int) -> None:
        self.codes.append(code)

    def send(self, *packets: Packet) -> None:
        self.client.feed(b"".join(encode_packet(each, MQTT_5) for each in packets))

    def take(self) -> list[Packet]:
        output, packets = self.client.take_output(), []
        while output:
            decoded = decode_packet(output, MQTT_5)
            assert decoded is not None
            packets.append(decoded[0])
            output = output[decoded[1] :]
        return packets

    def connect(self, *, session_present: bool = False, **limits: int) -> list[Packet]:
        self.client.connect()
        assert isinstance(self.take()[0], Connect)
        self.send(ConnAck(0, session_present, Properties(**limits)))  # type: ignore[arg-type]  # numbers
        return self.take()

    def publish(self, payload: bytes = b"x") -> None:
        self.client.publish(
            "t", payload, retain=False, properties=NO_PROPERTIES, done=self.ends.append
        )


def ids(packets: list[Packet]) -> list[tuple[int | None, bool]]:
    return [(p.packet_id, p.duplicate) for p in packets if isinstance(p, Publish)]


def test_a_message_ends_with_its_acknowledgement() -> None:
    rig = Rig()
    rig.connect()
    rig.publish()
    assert ids(rig.take()) == [(1, False)]
    rig.send(PubAck(1), PubAck(1), PubAck(7))
    (end,) = rig.ends
    assert end is not None
    assert end.codes == (0,)


def test_messages_are_sent_again_in_order_after_a_reconnect() -> None:
    rig = Rig()
    rig.connect()
    for _ in range(3):
        rig.publish()
    rig.take()
    rig.send(PubAck(2))
    rig.client.lost()
    rig.connect(session_present=True)
    rig.client.lost()
    assert ids(rig.connect(session_present=True)) == [(1, True), (3, True)]
    rig.client.lost()
    assert ids(rig.connect(session_present=False)) == [(1, False), (3, False)]


def test_a_message_published_while_offline_is_sent_later() -> None:
    rig = Rig()
    rig.publish()
    assert rig.take() == []
    assert ids(rig.connect()) == [(1, False)]


def test_no_more_are_in_flight_than_the_broker_allows() -> None:
    rig = Rig()
    rig.connect(receive_maximum=2)
    for _ in range(4):
        rig.publish()
    assert ids(rig.take()) == [(1, False), (2, False)]
    rig.send(PubAck(1))
    assert ids(rig.take()) == [(3, False)]
    rig.client.lost()
    assert ids(rig.connect(session_present=True, receive_maximum=1)) == [(2, True)]
    for packet_id in (2, 4, 5):
        rig.send(PubAck(packet_id))
    assert len(rig.ends) == 4


def test_a_burst_is_refused_by_number_and_by_size() -> None:
    rig = Rig()
    for _ in range(PUBLISH_LIMIT):
        rig.publish()
    with pytest.raises(PublishError, match="1000 messages wait already"):
        rig.publish()
    large = Rig()
    for _ in range(15):
        large.publish(b"x" * (PUBLISH_LIMIT_BYTES // 16))
    with pytest.raises(PublishError, match="bytes wait already"):
        large.publish(b"x" * (PUBLISH_LIMIT_BYTES // 8))
    large.publish()


def test_a_message_larger_than_the_broker_takes_is_refused_at_once() -> None:
    rig = Rig()
    rig.connect(maximum_packet_bytes=500)
    with pytest.raises(PublishSizeError, match="the broker takes 500"):
        rig.publish(b"x" * 500)
    with pytest.raises(PublishSizeError):
        rig.client.publish_qos0("t", b"x" * 500, retain=False, properties=NO_PROPERTIES)
    assert rig.take() == []


def test_qos_0_needs_a_connection() -> None:
    rig = Rig()
    with pytest.raises(PublishError, match="not connected"):
        rig.client.publish_qos0("t", b"", retain=False, properties=NO_PROPERTIES)


def test_a_refusal_ends_a_message_with_its_reason() -> None:
    rig = Rig()
    rig.connect()
    rig.publish()
    rig.send(PubAck(1, Reason.NOT_AUTHORIZED))
    assert [end.codes for end in rig.ends if end] == [(0x87,)]


def test_a_lost_connection_ends_requests_and_keeps_messages() -> None:
    rig = Rig()
    rig.connect()
    rig.client.subscribe([("a", FilterOptions())], rig.ends.append)
    rig.publish()
    assert isinstance(rig.take()[0], Subscribe)
    rig.client.lost()
    assert rig.ends == [None]
    rig.client.give_up()
    assert rig.ends == [None, None]
    assert rig.connect() == []


def test_acknowledgements_of_a_lost_connection_are_not_sent() -> None:
    rig = Rig()
    rig.connect()
    rig.send(Publish("t", b"", 1, packet_id=9))
    rig.client.lost()
    rig.client.acknowledge([9])
    assert rig.take() == []


def test_a_disconnect_is_reported_with_its_code() -> None:
    rig = Rig()
    rig.connect()
    rig.send(Disconnect(Reason.SESSION_TAKEN_OVER))
    assert rig.codes == [0x8E]


def test_the_answer_to_a_subscription_is_reported() -> None:
    rig = Rig()
    rig.connect()
    rig.client.subscribe([("a", FilterOptions()), ("b", FilterOptions())], rig.ends.append)
    rig.send(SubAck(1, (1, 0x87)))
    assert [end.codes for end in rig.ends if end] == [(1, 0x87)]


@pytest.mark.parametrize(
    "raw", [b"\x50\x02\x00\x01", b"\x34\x05\x00\x01t\x00\x01\x00", b"\x30\x01\x00"]
)
def test_packets_that_are_not_for_this_client_are_faults(raw: bytes) -> None:
    with pytest.raises(WireError):
        Rig().client.feed(raw)


def test_no_secret_is_shown() -> None:
    assert "secret" not in repr(ClientLogin("c", "u", "secret", 60, 10, 99))
