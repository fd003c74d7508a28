import asyncio

import pytest

from gateway.http.inprocess import TooLarge, call
from protocol.http_body import HttpRequest
from web.asgi import Receive, Scope, Send


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    event = await receive()
    headers = [(b"x-path", scope["path"].encode()), (b"x-query", scope["query_string"])]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": event["body"], "more_body": True})
    await send({"type": "http.response.body", "body": scope["hecate.origin"].encode()})


async def endless(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})


async def silent(_scope: Scope, receive: Receive, _send: Send) -> None:
    await receive()
    await receive()


async def faulty(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ZeroDivisionError


def test_an_application_is_called_as_over_http() -> None:
    request = HttpRequest("POST", "/a%20b?c=d", (("X-Y", "z"),), b"body")
    response = asyncio.run(call(echo, request, "sep", 1000, 1.0))
    assert response.status == 201
    assert response.headers == (("x-path", "/a b"), ("x-query", "c=d"))
    assert response.body == b"bodysep"


def test_a_head_request_gets_no_body() -> None:
    response = asyncio.run(call(echo, HttpRequest("HEAD", "/"), "sep", 1000, 1.0))
    assert (response.status, response.body) == (201, b"")


def test_an_endless_answer_is_stopped_at_its_bound() -> None:
    with pytest.raises(TooLarge):
        asyncio.run(call(endless, HttpRequest("GET", "/"), "sep", 10_000, 5.0))


def test_a_silent_application_is_stopped() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(call(silent, HttpRequest("GET", "/"), "sep", 10_000, 0.01))


def test_a_fault_of_the_application_rises() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(call(faulty, HttpRequest("GET", "/"), "sep", 10_000, 5.0))
