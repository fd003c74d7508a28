"""Shared subscriptions with clients that others wrote."""

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.integration.broker.conftest import BrokerThread
from tests.paho_client import V4, V5, Paho


@pytest.mark.parametrize("version", [V4, V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_message_comes_to_one_member(
    broker: BrokerThread, version: MQTTProtocolVersion, qos: int
) -> None:
    with Paho("1", version) as one, Paho("2", version) as two, Paho("s", version) as sender:
        for each in (one, two, sender):
            each.connect("127.0.0.1", broker.port)
        for each in (one, two):
            each.subscribe("$share/group/a/#", 2)
        for number in range(50):
            sender.client.publish("a/b", b"%d" % number, qos)
        got = [[int(each.take().payload) for _ in range(25)] for each in (one, two)]
        assert sorted(got[0] + got[1]) == list(range(50))
        assert got == [sorted(each) for each in got]
        assert one.messages.empty()
        assert two.messages.empty()
