"""Responses that find the requests which wait for them."""

import asyncio
import contextlib

import pytest

from microservice.errors import PublishError
from microservice.mqtt.requests import WAITING_LIMIT, PendingRequests, response_topic
from microservice.mqtt.wire import NO_PROPERTIES, Incoming, MessageProperties


def response(correlation: bytes, payload: bytes, topic: str = "responses/api-x") -> Incoming:
    properties = MessageProperties(correlation=correlation)
    return Incoming(topic, payload, 0, False, False, 0, properties)


def test_a_response_reaches_the_request_with_its_correlation() -> None:
    async def run() -> None:
        requests = PendingRequests(response_topic("api-x"))
        with requests.begin(NO_PROPERTIES) as (one, first):
            with requests.begin(MessageProperties(expiry_s=5)) as (two, second):
                assert (two.response_topic, two.expiry_s) == ("responses/api-x", 5)
                assert requests.arrived(response(two.correlation, b"2"))
                assert requests.arrived(response(b"forged", b"?"))
                assert requests.arrived(response(two.correlation, b"twice"))
                assert not requests.arrived(response(one.correlation, b"1", "elsewhere"))
                assert (await second).payload == b"2"
            assert requests.arrived(response(two.correlation, b"late"))
            assert not first.done()
        assert requests.arrived(response(one.correlation, b"late"))
        assert not first.done()

    asyncio.run(run())


def test_the_number_of_waiting_requests_is_bounded() -> None:
    async def run() -> None:
        requests = PendingRequests("responses/x")
        with contextlib.ExitStack() as begun:
            for _ in range(WAITING_LIMIT):
                begun.enter_context(requests.begin(NO_PROPERTIES))
            with pytest.raises(PublishError, match="256 requests wait already"):
                begun.enter_context(requests.begin(NO_PROPERTIES))
        with requests.begin(NO_PROPERTIES):
            pass

    asyncio.run(run())
