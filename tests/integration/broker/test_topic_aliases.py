"""Topic aliases with clients that others wrote."""

from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes

from tests.integration.broker.conftest import BrokerThread
from tests.paho_client import V4, V5, Paho, properties_for
from tests.programs import PATIENCE

WAIT_S = 20 * PATIENCE


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_publishes_with_an_alias(broker: BrokerThread, qos: int) -> None:
    with Paho("r", V4) as receiver, Paho("s", V5) as sender:
        receiver.connect("127.0.0.1", broker.port)
        receiver.subscribe("#", 2)
        _, _, connack = sender.connect("127.0.0.1", broker.port)
        assert connack.TopicAliasMaximum == 32
        alias = properties_for(PacketTypes.PUBLISH, TopicAlias=3)
        sender.publish("a/long/topic", b"0", qos, properties=alias)
        for number in range(1, 50):
            sender.client.publish("", b"%d" % number, qos, properties=alias)
        got = [receiver.take() for _ in range(50)]
        assert {each.topic for each in got} == {"a/long/topic"}
        assert [int(each.payload) for each in got] == list(range(50))


def test_paho_is_sent_aliases_when_it_takes_them(broker: BrokerThread) -> None:
    client = Paho("r", V5)
    takes = properties_for(PacketTypes.CONNECT, TopicAliasMaximum=2)
    client.client.connect("127.0.0.1", broker.port, properties=takes)
    client.client.loop_start()
    client.connack.get(timeout=WAIT_S)
    client.subscribe("#", 1)
    for topic in ("a/long/topic", "another/topic", "a/long/topic"):
        client.publish(topic, b"x", 1)
    seen = []
    for _ in range(3):
        message = client.take()
        properties: Any = message.properties  # its fields exist at run time only
        seen.append((message.topic, properties.TopicAlias))
    client.close()
    assert seen == [("a/long/topic", 1), ("another/topic", 2), ("", 1)]
