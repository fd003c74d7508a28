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
    SettingError,
)
from microservice.mqtt.wire import MessageProperties


class RecordingSink:
    def __init__(self) -> None:
        self.published: list[tuple[str, bytes, int, bool]] = []

        self.properties: list[MessageProperties] = []

    async def publish(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: MessageProperties
    ) -> None:
        self.published.append((topic, payload, qos, retain))
        self.properties.append(properties)

    async def request(
        self, topic: str, payload: bytes, properties: MessageProperties, timeout_s: float
    ) -> Message:
        raise NotImplementedError


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

        @service.get("/")  # type: ignore[type-var]  # the fault under test
        def handler(request: Request) -> None: ...

    with pytest.raises(ServiceError, match="qos is 2"):
        service.on("a", qos=2)


def test_values_are_published_as_bytes_text_or_json() -> None:
    service, sink = Service(), RecordingSink()
    service.attach(sink, {"KEY": "1"}, Info(container_id="api-x"))

    async def publish() -> None:
        await service.publish("a", b"\x00")
        await service.publish("b", "text", qos=0)
        await service.publish("c", {"value": 1}, retain=True)

    asyncio.run(publish())
    assert sink.published == [
        ("a", b"\x00", 1, False),
        ("b", b"text", 0, False),
        ("c", b'{"value": 1}', 1, True),
    ]
    assert sink.properties == [MessageProperties()] * 3, "the usual message carries none"
    assert service.env["KEY"] == "1"


def test_a_message_is_published_with_its_properties() -> None:
    service, sink = Service(), RecordingSink()
    service.attach(sink, {}, Info())

    async def publish() -> None:
        await service.publish(
            "a", 1, content_type="text/plain", user_properties={"b": "c"}, expiry=0.5
        )
        await service.publish("a", 1, user_properties=[("b", "c"), ("b", "d")])

    asyncio.run(publish())
    assert sink.properties == [
        MessageProperties((("b", "c"),), "text/plain", expiry_s=1),
        MessageProperties(user=(("b", "c"), ("b", "d"))),
    ]


def test_settings_and_secrets_are_read_by_their_names_only() -> None:
    service = Service()
    with pytest.raises(SettingError, match=r"microservice.toml has no \[settings.limit\]"):
        service.settings["limit"]
    service.attach(RecordingSink(), {}, Info(), {"limit": 30}, {"key": "hush"})
    assert dict(service.settings) == {"limit": 30}
    assert service.secrets["key"] == "hush"
    assert "hush" not in repr(service.secrets)
    assert service.secrets.get("other") is None
    with pytest.raises(SettingError, match=r"hecate deploy --secret other=@FILE"):
        service.secrets["other"]
    assert service.settings.replace({"limit": 30, "place": "attic"}) == {"place"}


def test_schedules_have_names_of_their_own() -> None:
    service = Service()

    @service.every("5m")
    async def poll() -> None: ...

    service.cron("0 * * * *", limit="2m")(poll)
    assert [s.name for s in service.triggers.schedules] == ["poll", "poll (0 * * * *)"]
    assert [s.limit_s for s in service.triggers.schedules] == [None, 120.0]


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
