"""A service in a plain test, as a developer writes one."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from microservice import (
    HangupError,
    HttpError,
    Message,
    OutboundError,
    OutboundTimeoutError,
    Request,
    RequestTimeoutError,
    Response,
    Service,
    ServiceError,
    WebSocket,
)
from microservice.mqtt.wire import MessageProperties


def make() -> Service:
    service = Service()
    add_messages(service)
    add_requests(service)
    return service


def add_messages(service: Service) -> None:
    @service.on("sensors/{id}/temperature")
    async def reading(message: Message) -> None:
        value = message.json()["value"]
        count = await service.state.update("count", lambda n: n + 1, 0)
        if value > service.settings["limit"]:
            await service.publish(f"alarms/{message['id']}", {"value": value, "count": count})

    @service.on("ask/{what}")
    async def ask(message: Message) -> dict[str, Any]:
        return {"what": message["what"], "said": message.text()}

    @service.every("60s")
    async def tick() -> None:
        await service.publish("ticks", await service.state.update("ticks", lambda n: n + 1, 0))

    @service.cron("0 9 * * *")
    async def morning() -> None:
        await service.publish("mornings", b"\xff", qos=0, retain=True)


def add_requests(service: Service) -> None:
    @service.get("/count")
    async def count(_: Request) -> dict[str, Any]:
        return {"count": await service.state.get("count", 0)}

    @service.put("/rooms/{room}")
    async def put(request: Request) -> Response:
        return Response(await request.json(), 201, {"x-room": request["room"]})

    @service.get("/fails")
    async def fails(_: Request) -> None:
        raise HttpError(409, "cannot do it twice")

    @service.websocket("/live/{room}")
    async def live(socket: WebSocket) -> None:
        if socket["room"] == "cellar":
            raise HttpError(403, "no")
        async for message in socket:
            await socket.send({"room": socket["room"], "got": message})


def test_messages_requests_and_state() -> None:
    async def run() -> None:
        async with make().test(settings={"limit": 30}) as t:
            await t.publish("sensors/1/temperature", {"value": 21})
            assert t.published == []
            await t.publish("sensors/1/temperature", {"value": 31})
            assert t.published == [("alarms/1", {"value": 31, "count": 2})]
            answer = await t.get("/count?x=1")
            assert (answer.status, answer.json()) == (200, {"count": 2})
            answer = await t.put("/rooms/at%2Ftic", {"a": 1})
            assert (answer.status, answer.headers["x-room"]) == (201, "at/tic")
            assert answer.json() == {"a": 1}
            assert (await t.get("/fails")).json()["detail"] == "cannot do it twice"
            assert (await t.get("/nowhere")).status == 404
            assert (await t.post("/count")).status == 405
            assert await t.request("ask/time", "now") == {"what": "time", "said": "now"}
            await t.change_settings(limit=10)
            await t.publish("sensors/1/temperature", {"value": 21})
            assert t.published[-1].value == {"value": 21, "count": 3}

    asyncio.run(run())


def test_each_test_begins_with_an_empty_state() -> None:
    async def run() -> None:
        service = make()
        for _ in range(2):
            async with service.test(settings={"limit": 30}) as t:
                await t.publish("sensors/1/temperature", {"value": 31})
                assert t.published == [("alarms/1", {"value": 31, "count": 1})]

    asyncio.run(run())


def test_a_failing_handler_is_tried_again_as_in_production() -> None:
    async def run() -> None:
        service, calls = Service(), list[int]()

        @service.on("a")
        async def fail(_: Message) -> None:
            calls.append(1)
            raise ValueError("always")

        async with service.test() as t:
            await t.publish("a", 1)
            assert len(calls) == 3
            assert t.counters.failed == 1
            (dead,) = t.dead_letters
            assert (dead.topic, dead.value, dead.tries) == ("a", 1, 3)
            assert dead.error.startswith("ValueError: always")

    asyncio.run(run())


def test_the_time_of_a_service_is_that_of_its_test() -> None:
    service = make()
    assert abs(service.now() - time.time()) < 60

    async def run() -> None:
        async with service.test(now=1000) as t:
            await t.advance(60)
            assert service.now() == t.now == 1060

    asyncio.run(run())


def test_schedules_run_when_the_test_advances_the_time() -> None:
    async def run() -> None:
        async with make().test() as t:  # at 08:00 UTC
            await t.advance(200)
            assert t.published == [("ticks", 1), ("ticks", 2), ("ticks", 3)]
            t.published.clear()
            begun = t.now
            await t.advance(7200)
            assert t.now == begun + 7200
            mornings = [m for m in t.published if m.topic == "mornings"]
            assert [(m.value, m.qos, m.retain) for m in mornings] == [(b"\xff", 0, True)]
            assert len(t.published) == 120 + 1

    asyncio.run(run())


def test_websockets_are_driven_from_the_client_side() -> None:
    async def run() -> None:
        async with make().test() as t:
            async with t.websocket("/live/attic") as socket:
                await socket.send("hello")
                assert await socket.json() == {"room": "attic", "got": "hello"}
            async with t.websocket("/live/cellar") as socket:
                with pytest.raises(HangupError, match="status 403"):
                    await socket.receive()

    asyncio.run(run())


def test_requests_of_the_service_are_answered_by_the_test() -> None:
    async def run() -> None:
        service = Service()

        @service.post("/ask")
        async def ask(_: Request) -> Any:
            return (await service.request("clock/now", {"zone": "UTC"}, timeout=5)).json()

        async with service.test() as t:
            t.respond("clock/now", {"hour": 9})
            assert (await t.post("/ask")).json() == {"hour": 9}
            assert t.published == [("clock/now", {"zone": "UTC"})]
            assert t.published[0].properties.expiry_s == 5
            with pytest.raises(RequestTimeoutError, match=r"t\.respond"):
                await service.request("other", timeout=1)

    asyncio.run(run())


def test_a_trace_goes_from_its_trigger_to_what_the_handler_publishes() -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    parent = f"00-{trace}-{span}-01"

    async def run() -> None:
        service = Service()

        @service.on("in")
        async def on_message(_: Message) -> None:
            await service.publish("out", 1, user_properties={"a": "1"})

        @service.get("/")
        async def on_request(_: Request) -> None:
            await service.publish("out", 2)

        async with service.test() as t:
            properties = MessageProperties(user=(("traceparent", parent),))
            await t.publish("in", 1, properties=properties)
            await t.get("/", headers={"Traceparent": parent})
            await t.publish("in", 1)
            first, second, third = (m.properties.user for m in t.published)
            assert first[0] == ("a", "1")
            for name, value in (first[1], second[0]):
                assert name == "traceparent"
                assert value.startswith(f"00-{trace}-")
                assert span not in value, "the handler is a span of its own"
            assert third == (("a", "1"),)

    asyncio.run(run())


def test_calls_to_nodes_and_to_the_gateway_are_answered() -> None:
    async def run() -> None:
        service = Service()

        @service.get("/")
        async def root(_: Request) -> object:
            async with service.http.request("GET", "/mds/v1/nodes") as response:
                nodes = (await response.json())["data"]
            return [(await service.call("api-x", "/", node=node)).json() for node in nodes]

        async with service.test() as t:
            t.answer("/mds/v1/nodes", {"data": ["one", "two"]})
            t.answer("api-x/", 1, node="one")
            t.answer("api-x/", 2, node="two")
            assert (await t.get("/")).json() == [1, 2]

    asyncio.run(run())


def test_a_call_that_fails_is_told_to_the_caller_without_its_target() -> None:
    async def run() -> None:
        service = Service()

        @service.get("/late")
        async def late(_: Request) -> None:
            raise OutboundTimeoutError("cannot reach secret.example.com: no connection in 5 s")

        @service.get("/away")
        async def away(_: Request) -> None:
            await service.call("api-secret")

        async with service.test() as t:
            for path, status in (("/late", 504), ("/away", 502)):
                answer = await t.get(path)
                assert answer.status == status
                assert "see the container's log" in answer.json()["detail"]
                assert "secret" not in answer.text

    asyncio.run(run())


CONFIGURED = """
from microservice import Service
service = Service()
@service.get("/")
async def root(_): return dict(service.settings)
"""
LIMIT = '[settings.limit]\ntype = "number"\ndefault = 30\n[settings.unit]\ntype = "string"\n'


def load(folder: Path, manifest: str) -> Service:
    (folder / "microservice.toml").write_text(manifest)
    names: dict[str, Any] = {}
    exec(compile(CONFIGURED, str(folder / "service.py"), "exec"), names)
    service: Service = names["service"]
    return service


def test_settings_have_the_defaults_of_the_manifest(tmp_path: Path) -> None:
    service = load(tmp_path, LIMIT)

    async def values(**given: Any) -> Any:
        async with service.test(settings=given) as t:
            return (await t.get("/")).json()

    assert asyncio.run(values()) == {"limit": 30}
    assert asyncio.run(values(limit=5, unit="K")) == {"limit": 5, "unit": "K"}
    load(tmp_path, "[settings")
    with pytest.raises(ServiceError, match=r"cannot read .*microservice\.toml"):
        service.test()


def test_a_service_starts_and_stops_with_its_test() -> None:
    async def run() -> None:
        service, events = Service(), list[str]()

        @service.on_start
        async def start() -> None:
            events.append(service.secrets["key"] + service.env["E"])

        @service.on_stop
        async def stop() -> None:
            events.append("stop")

        async with service.test(secrets={"key": "k"}, env={"E": "e"}):
            assert events == ["ke"]
        assert events == ["ke", "stop"]

    asyncio.run(run())


def test_calls_of_the_service_are_answered_by_the_test() -> None:
    async def run() -> None:
        service = Service()

        @service.get("/")
        async def ask(_: Request) -> Any:
            told = await service.call("api-climate", "/rooms/attic", {"limit": 30}, timeout=5)
            async with service.http.request("GET", "https://example.com/") as response:
                return {"room": told.json(), "status": told.status, "web": await response.text()}

        async with service.test() as t:
            t.answer("api-climate/rooms/attic", {"value": 21}, status=201)
            t.answer("https://example.com/", "hello")
            answer = await t.get("/", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
            assert answer.json() == {"room": {"value": 21}, "status": 201, "web": "hello"}
            call, request = t.sent
            assert (call.method, call.url) == (
                "POST", "http://api-climate.service.hecate/rooms/attic",
            )  # fmt: skip
            assert call.json() == {"limit": 30}
            assert call.headers["content-type"] == "application/json"
            assert call.headers["traceparent"].startswith(f"00-{'a' * 32}-")
            assert request.method == "GET"
            with pytest.raises(OutboundError, match=r"t\.answer"):
                await service.call("api-other", node="ab12")
            assert t.sent[-1].url == "http://ab12.api-other.service.hecate/"

    asyncio.run(run())
