"""Handlers of requests that end in unusual ways, in a plain test of the service."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from microservice import HttpError, Message, PublishError, Request, Response, Service, StoreError

FAILED = "cannot answer: the handler failed, see the container's log"


def answer_of(handler: Any, requests: int = 1) -> list[Any]:
    """Return the answers of a handler to some requests."""
    service = Service()
    service.get("/")(handler)

    async def run() -> list[Any]:
        async with service.test() as t:
            return [await t.get("/") for _ in range(requests)]

    return asyncio.run(run())


def returning(value: Any) -> Any:
    async def handler(_: Request) -> Any:
        return value

    return handler


async def leave(_: Request) -> None:
    sys.exit("gone")


async def await_what_is_cancelled(_: Request) -> None:
    other = asyncio.ensure_future(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(other.cancel)
    await other


async def answer_with_status_99(_: Request) -> Response:
    return Response("x", status=99)


async def refuse_with_status_600(_: Request) -> None:
    raise HttpError(600, "no")


@pytest.mark.parametrize(
    "handler",
    [
        leave, await_what_is_cancelled, answer_with_status_99, refuse_with_status_600,
        returning({"value": float("nan")}), returning([float("inf")]), returning({1, 2}),
    ],
)  # fmt: skip
def test_a_handler_that_cannot_be_answered_fails_alone(handler: Any) -> None:
    for answer in answer_of(handler, requests=2):
        assert (answer.status, answer.json()["detail"]) == (500, FAILED)


def test_a_stream_may_be_of_text() -> None:
    async def handler(_: Request) -> Response:
        async def lines() -> AsyncIterator[str | bytes]:
            yield "größe\n"
            yield b"1\n"

        return Response(lines(), headers={"content-type": "text/plain"})

    (answer,) = answer_of(handler)
    assert answer.text == "größe\n1\n"


def test_exit_in_a_trigger_is_an_error_of_the_message() -> None:
    service = Service()

    @service.on("in", tries=1)
    async def handle(message: Message) -> None:
        if message.text() == "leave":
            sys.exit(3)
        await service.publish("out", message.text())

    @service.every("10s")
    async def tick() -> None:
        sys.exit(4)

    async def run() -> None:
        async with service.test() as t:
            await t.publish("in", "leave")
            await t.advance(25)
            await t.publish("in", "stay")
            assert t.published == [("out", "stay")]
            assert [letter.error.partition(" (")[0] for letter in t.dead_letters] == [
                "SystemExit: 3"
            ]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("topic", "value", "options"),
    [
        ("a\0b", "x", {}),
        ("a/+", "x", {}),
        ("", "x", {}),
        ("a\nb", "x", {}),
        ("\ud800", "x", {}),
        ("a" * 70_000, "x", {}),
        ("a", "x", {"qos": 2}),
        ("a", "x", {"content_type": "a\0"}),
        ("a", "x", {"user_properties": {"n": "v\0"}}),
        ("a", "x", {"user_properties": {"\0": "v"}}),
        ("a", "x", {"user_properties": {"n": 5}}),
        ("a", "x", {"user_properties": [("n", "\ud800")]}),
        ("a", "x", {"user_properties": [("n", "v" * 70_000)]}),
    ],
)
def test_what_no_broker_takes_is_an_error_of_the_publisher(
    topic: str, value: Any, options: dict[str, Any]
) -> None:
    service = Service()

    async def run() -> None:
        async with service.test() as t:
            with pytest.raises(PublishError, match="cannot publish"):
                await service.publish(topic, value, **options)
            assert t.published == []
            await service.publish("a", "x", expiry=1e12, user_properties={"größe": ""})

    asyncio.run(run())


def test_numbers_that_are_no_json_are_not_published() -> None:
    service = Service()

    async def run() -> None:
        async with service.test() as t:
            with pytest.raises(ValueError, match="not JSON compliant"):
                await service.publish("a", {"value": float("nan")})
            assert t.published == []
            with pytest.raises(StoreError, match="a key is a text"):
                await service.state.set(5, 1)  # type: ignore[arg-type]

    asyncio.run(run())
