"""The properties of messages, to and from the MQTT client."""

import asyncio

import pytest

from microservice.errors import PublishError
from microservice.message import Message
from microservice.mqtt.properties import from_client, to_client
from microservice.mqtt.requests import WAITING_LIMIT, PendingRequests, response_topic
from microservice.mqtt.wire import MessageProperties


def test_properties_come_back_as_they_were() -> None:
    properties = MessageProperties(
        (("a", "1"), ("a", "2")), "text/plain", "responses/x", b"\x00\xff", 60
    )
    assert from_client(to_client(properties)) == properties
    assert to_client(MessageProperties()) is None, "the usual message carries none"
    assert from_client(None) == MessageProperties()


def test_a_response_reaches_the_request_with_its_correlation() -> None:
    async def run() -> None:
        requests = PendingRequests(response_topic("api-x"))
        one, first = requests.begin()
        two, second = requests.begin()
        assert requests.arrived(Message("responses/api-x", b"2", correlation=two))
        assert requests.arrived(Message("responses/api-x", b"?", correlation=b"forged"))
        assert requests.arrived(Message("responses/api-x", b"late", correlation=two))
        assert not requests.arrived(Message("elsewhere", b"1", correlation=one))
        assert (await second).payload == b"2"
        assert not first.done()
        requests.end(one)
        assert requests.arrived(Message("responses/api-x", b"1", correlation=one))
        assert not first.done()

    asyncio.run(run())


def test_the_number_of_waiting_requests_is_bounded() -> None:
    async def run() -> None:
        requests = PendingRequests("responses/x")
        for _ in range(WAITING_LIMIT):
            requests.begin()
        with pytest.raises(PublishError, match="256 requests wait already"):
            requests.begin()

    asyncio.run(run())
