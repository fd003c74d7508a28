import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from microservice import (
    HttpError,
    Info,
    Message,
    MicroserviceError,
    PublishError,
    Request,
    Response,
    Service,
    ServiceError,
)


class Outlet:
    def __init__(self) -> None:
        self.published: list[tuple[str, bytes, int, bool]] = []

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        self.published.append((topic, payload, qos, retain))


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def test_decorators_collect_triggers_and_leave_handlers_alone() -> None:
    service = Service()

    @service.on("a/{x}", qos=0)
    async def on_message(message: Message) -> None: ...

    @service.get("/a/{x}")
    @service.post("/b")
    async def on_request(request: Request) -> None: ...

    assert asyncio.iscoroutinefunction(on_message)
    assert [(t.template.text, t.qos) for t in service.triggers.messages] == [("a/{x}", 0)]
    assert [(r.method, r.template.text) for r in service.triggers.routes] == [
        ("POST", "/b"),
        ("GET", "/a/{x}"),
    ]


def test_a_handler_must_be_async() -> None:
    service = Service()
    with pytest.raises(ServiceError, match="write async def handler"):

        @service.get("/")  # type: ignore[type-var]  # what is tested
        def handler(request: Request) -> None: ...

    with pytest.raises(ServiceError, match="qos is 2"):
        service.on("a", qos=2)


def test_values_are_published_as_bytes_text_or_json() -> None:
    service, outlet = Service(), Outlet()
    service.attach(outlet, {"KEY": "1"}, Info(container_id="api-x"))

    async def publish() -> None:
        await service.publish("a", b"\x00")
        await service.publish("b", "text", qos=0)
        await service.publish("c", {"value": 1}, retain=True)

    asyncio.run(publish())
    assert outlet.published == [
        ("a", b"\x00", 1, False),
        ("b", b"text", 0, False),
        ("c", b'{"value": 1}', 1, True),
    ]
    assert service.env["KEY"] == "1"


def test_publishing_needs_a_started_service() -> None:
    with pytest.raises(PublishError, match="is not running"):
        asyncio.run(Service().publish("a", 1))


def test_a_message_is_read_as_json_text_and_levels() -> None:
    message = Message("a/b", b'{"value": 21}', levels={"x": "b"})
    assert message.json() == {"value": 21}
    assert message.text() == '{"value": 21}'
    assert message["x"] == "b"
    with pytest.raises(MicroserviceError, match="on a/b: not JSON"):
        Message("a/b", b"{").json()
    with pytest.raises(MicroserviceError, match="on a/b: not text"):
        Message("a/b", b"\xff").text()


def test_a_body_is_read_whole_or_refused() -> None:
    request = Request("POST", "/", source=pieces(b"[1,", b" 2]"))
    assert asyncio.run(request.json()) == [1, 2]
    with pytest.raises(HttpError) as too_long:
        asyncio.run(Request("POST", "/", source=pieces(b"123", b"456")).body(limit_bytes=5))
    assert too_long.value.status == 413
    with pytest.raises(HttpError) as not_json:
        asyncio.run(Request("POST", "/").json())
    assert not_json.value.status == 400


@pytest.mark.parametrize(
    ("content", "body", "kind"),
    [
        ({"a": 1}, b'{"a": 1}', "application/json"),
        ([], b"[]", "application/json"),
        (21, b"21", "application/json"),
        ("hé", "hé".encode(), "text/plain; charset=utf-8"),
        (b"x", b"x", "application/octet-stream"),
        (None, b"", None),
        (b"", b"", None),
    ],
)
def test_responses_know_their_type(content: Any, body: bytes, kind: Any) -> None:
    response = Response(content)
    assert response.body == body
    assert response.headers.get("content-type") == kind


def test_given_headers_win() -> None:
    response = Response({"a": 1}, 201, {"Content-Type": "application/senml+json"})
    assert (response.status, response.headers) == (
        201,
        {"content-type": "application/senml+json"},
    )
