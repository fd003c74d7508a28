import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker import Credentials, Identity, Limits, Message, Refusal
from tests.integration.broker.conftest import BrokerThread
from tests.paho_client import V4, V5, Paho, properties_for

both = pytest.mark.parametrize("version", [V4, V5])


@both
@pytest.mark.parametrize("other", [V4, V5])
@pytest.mark.parametrize("qos", [0, 1])
def test_messages_pass_between_versions(
    broker: BrokerThread, version: MQTTProtocolVersion, other: MQTTProtocolVersion, qos: int
) -> None:
    with Paho("r", version) as receiver, Paho("s", other) as sender:
        receiver.connect("127.0.0.1", broker.port)
        sender.connect("127.0.0.1", broker.port)
        receiver.subscribe("room/+/temperature", 1)
        for number in range(500):
            sender.client.publish(f"room/{number % 7}/temperature", b"%d" % number, qos)
        got = [receiver.take() for _ in range(500)]
        assert [int(each.payload) for each in got] == list(range(500))
        assert all(each.qos == qos for each in got)


@both
def test_a_large_message_arrives_whole(broker: BrokerThread, version: MQTTProtocolVersion) -> None:
    payload = bytes(range(256)) * 4096
    with Paho("c", version) as client:
        client.connect("127.0.0.1", broker.port)
        client.subscribe("big", 1)
        client.publish("big", payload, 1)
        assert client.take().payload == payload


@both
def test_retained_messages_and_wills(broker: BrokerThread, version: MQTTProtocolVersion) -> None:
    dying = Paho("dying", version)
    dying.client.will_set("status", b"offline", 1, retain=True)
    dying.connect("127.0.0.1", broker.port)
    dying.publish("status", b"online", 1, retain=True)
    with Paho("watcher", version) as watcher:
        watcher.connect("127.0.0.1", broker.port)
        watcher.subscribe("status", 1)
        first = watcher.take()
        assert (first.payload, first.retain) == (b"online", True)
        dying.kill()
        second = watcher.take()
        assert (second.payload, second.retain) == (b"offline", False)


@both
def test_a_stored_session_gets_what_it_missed(
    broker: BrokerThread, version: MQTTProtocolVersion
) -> None:
    with Paho("away", version, clean=False, expiry_s=600) as first:
        assert not first.connect("127.0.0.1", broker.port)[0]
        first.subscribe("a", 1)
    with Paho("s", version) as sender:
        sender.connect("127.0.0.1", broker.port)
        for number in range(10):
            sender.publish("a", b"%d" % number, 1)
    with Paho("away", version, clean=False, expiry_s=600) as again:
        assert again.connect("127.0.0.1", broker.port)[0]
        assert [int(again.take().payload) for _ in range(10)] == list(range(10))


@both
def test_take_over(broker: BrokerThread, version: MQTTProtocolVersion) -> None:
    first, second = Paho("same", version), Paho("same", version)
    first.connect("127.0.0.1", broker.port)
    second.connect("127.0.0.1", broker.port)
    reason = first.gone.get(timeout=10)
    if version == V5:
        assert reason.value == 0x8E
    first.kill()
    second.close()


def test_mqtt_5_features(broker: BrokerThread) -> None:
    with Paho("", V5) as client:
        _, _, properties = client.connect("127.0.0.1", broker.port)
        assert properties.AssignedClientIdentifier
        assert not hasattr(properties, "MaximumQoS")
        sent = properties_for(
            PacketTypes.PUBLISH,
            UserProperty=("traceparent", "00-1"),
            ContentType="text/plain",
            ResponseTopic="reply",
            CorrelationData=b"\x07",
            MessageExpiryInterval=60,
        )
        asked = properties_for(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=42)
        mid = client.client.subscribe(
            "a", options=SubscribeOptions(qos=1, retainAsPublished=True), properties=asked
        )[1]
        assert mid is not None
        client.answer(mid)
        client.publish("a", b"x", 1, properties=sent, retain=True)
        got = client.take()
        assert got.retain
        arrived: Any = got.properties  # its fields exist at run time only
        assert arrived.UserProperty == [("traceparent", "00-1")]
        assert arrived.ResponseTopic == "reply"
        assert arrived.CorrelationData == b"\x07"
        assert arrived.SubscriptionIdentifier == [42]
        assert client.publish("nobody/listens", b"", 1).value == 0x10


class Policy:
    """Lets "device" in with its password, on its own topics."""

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        if credentials.username == "device" and credentials.password == b"right":
            return Identity("device", credentials.client_id)
        return Refusal.BAD_CREDENTIALS

    def may_publish(self, identity: Identity, topic: str) -> bool:
        return topic.startswith(f"devices/{identity.name}/")

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        return topic_filter.startswith(f"devices/{identity.name}/")


@both
def test_policy(start_broker: Callable[..., BrokerThread], version: MQTTProtocolVersion) -> None:
    policy = Policy()
    broker = start_broker(authenticator=policy, authorizer=policy)
    stranger = Paho("x", version)
    stranger.client.username_pw_set("device", "wrong")
    _, reason, _ = stranger.connect("127.0.0.1", broker.port)
    assert reason.is_failure
    stranger.kill()
    with Paho("d", version) as device:
        device.client.username_pw_set("device", "right")
        device.connect("127.0.0.1", broker.port)
        assert device.subscribe("#").is_failure
        assert not device.subscribe("devices/device/#", 1).is_failure
        refused = device.publish("devices/other/x", b"", 1)
        assert refused.value == (0x87 if version == V5 else 0)
        device.publish("devices/device/x", b"mine", 1)
        assert device.take().payload == b"mine"
        assert broker.call(broker.broker.connected) == {"device"}
        assert broker.call(lambda: broker.broker.disconnect("device")) == 1
        device.gone.get(timeout=10)


def test_a_local_client_holds_the_puback(broker: BrokerThread) -> None:
    kept: list[Message] = []
    arrived = threading.Event()

    def keep(message: Message) -> None:
        assert message.hold is not None
        message.hold.keep()
        kept.append(message)
        arrived.set()

    broker.call(lambda: broker.broker.local_client("spool").subscribe("up/#", keep))
    with Paho("d", V4) as device:
        device.connect("127.0.0.1", broker.port)
        info = device.client.publish("up/1", b"x", 1)
        assert arrived.wait(10)
        assert not info.is_published()
        hold = kept[0].hold
        assert hold is not None
        broker.call(hold.release)
        device.answer(info.mid)


def test_malformed_input_closes_only_that_connection(broker: BrokerThread) -> None:
    with Paho("c", V5) as client:
        client.connect("127.0.0.1", broker.port)
        client.subscribe("a", 1)
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\xff\xff", b"\x00" * 100):
            with socket.create_connection(("127.0.0.1", broker.port)) as sock:
                sock.settimeout(10)
                sock.sendall(garbage)
                assert sock.recv(100) == b""
        client.publish("a", b"still here", 1)
        assert client.take().payload == b"still here"


def test_slow_readers_together_are_bounded(start_broker: Callable[..., BrokerThread]) -> None:
    total = 262_144
    broker = start_broker(limits=Limits(output_bytes=1_048_576, output_bytes_total=total))
    with contextlib.ExitStack() as stack, Paho("s", V4) as sender:
        for number in range(4):
            reader = stack.enter_context(socket.create_connection(("127.0.0.1", broker.port)))
            reader.sendall(bytes.fromhex("100d00044d515454040200000001") + b"%d" % number)
            reader.sendall(bytes.fromhex("82060001 000161 00"))
        sender.connect("127.0.0.1", broker.port)
        payload = b"x" * 50_000
        for _ in range(400):
            sender.publish("a", payload, 1)
        assert broker.broker.counters.dropped["slow_reader"] > 0
        assert broker.call(lambda: broker.broker.unread_bytes) <= total + 2 * len(payload)


def test_a_reader_that_does_not_read_is_bounded(start_broker: Callable[..., BrokerThread]) -> None:
    broker = start_broker(limits=Limits(output_bytes=65_536))
    with socket.create_connection(("127.0.0.1", broker.port)) as slow, Paho("s", V4) as sender:
        slow.sendall(bytes.fromhex("100d00044d5154540402000000 017a"))
        slow.sendall(bytes.fromhex("82060001 000161 00"))
        sender.connect("127.0.0.1", broker.port)
        counters = broker.broker.counters
        payload = b"x" * 100_000
        for _ in range(400):
            sender.publish("a", payload, 1)
            if counters.messages_dropped:
                break
        assert counters.dropped["slow_reader"] > 0
