"""ScriptTest runs an index.js as a container does, without a gateway."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from microservice import ScriptTest
from microservice.errors import HangupError, ServiceError
from microservice.testing.harness import TestBench

MANIFEST = """
name = "probe"
[mqtt]
subscribe = ["in/#"]
publish = ["out"]
[secrets]
names = ["k"]
[settings.limit]
type = "integer"
default = 3
"""
CODE = """
mimikModule.exports = async (context, request, response) => {
  if (request.url === "/mqtt") {
    const { topic, payload } = JSON.parse(request.body);
    if (payload === "bad") throw new Error("no");
    const count = Number(context.storage.getItem(topic) ?? 0) + 1;
    context.storage.setItem(topic, String(count));
    await context.mqtt.publish("out", JSON.stringify({ topic, count }), { retain: true });
    return response.end(JSON.stringify({ count }));
  }
  if (request.url === "/values") {
    const { settings, secrets, env, info } = context;
    const values = { settings, secrets: { k: secrets.k }, city: env.CITY, type: info.serviceType };
    return response.end(JSON.stringify(values));
  }
  if (request.url === "/call") {
    const url = "http://other.example/x";
    const { data, status } = await context.http.request({ url, type: "POST", data: "q" });
    return response.end(JSON.stringify({ data, status }));
  }
  if (request.url === "/event") context.dispatchWebSocketEvent({ type: "t", message: "m" });
  response.statusCode = 201;
  response.end(request.body);
};
"""


def run(
    folder: Path, use: Callable[[TestBench], Awaitable[None]], code: str = CODE, **given: Any
) -> None:
    (folder / "microservice.toml").write_text(MANIFEST)
    (folder / "index.js").write_text(code)

    async def main() -> None:
        async with ScriptTest(folder, **given) as t:
            await use(t)

    asyncio.run(main())


def test_messages_are_handled_in_order_and_storage_lasts(tmp_path: Path) -> None:
    async def use(t: TestBench) -> None:
        await t.publish("in/a", "1")
        await t.publish("in/a", "2")
        assert t.published == [
            ("out", {"topic": "in/a", "count": 1}),
            ("out", {"topic": "in/a", "count": 2}),
        ]
        assert t.published[0].retain
        assert await t.request("in/a", "3") == {"count": 3}

    run(tmp_path, use)


def test_a_message_that_fails_becomes_a_dead_letter(tmp_path: Path) -> None:
    async def use(t: TestBench) -> None:
        await t.publish("in/a", "bad")
        (letter,) = t.dead_letters
        assert (letter.topic, letter.value, letter.tries) == ("in/a", "bad", 3)
        assert t.counters.dead == 1

    run(tmp_path, use)


def test_values_and_their_changes(tmp_path: Path) -> None:
    async def use(t: TestBench) -> None:
        wanted = {
            "settings": {"limit": 3},
            "secrets": {"k": "v"},
            "city": "Delft",
            "type": "api-probe",
        }
        assert (await t.get("/values")).json() == wanted
        await t.change_settings(limit=4)
        assert (await t.get("/values")).json()["settings"] == {"limit": 4}

    run(tmp_path, use, secrets={"k": "v"}, env={"CITY": "Delft"})


def test_requests_and_calls(tmp_path: Path) -> None:
    async def use(t: TestBench) -> None:
        answer = await t.post("/x", {"a": 1})
        assert (answer.status, answer.json()) == (201, {"a": 1})
        t.answer("http://other.example/x", {"b": 2})
        assert (await t.get("/call")).json() == {"data": '{"b": 2}', "status": 200}
        assert [(each.method, each.body) for each in t.sent] == [("POST", b"q")]

    run(tmp_path, use)


def test_events_reach_websockets_that_are_allowed(tmp_path: Path) -> None:
    async def allowed(t: TestBench) -> None:
        async with t.websocket("/ws/probe/v1") as socket:
            await t.get("/event")
            assert await socket.json() == {"type": "t", "message": "m"}

    async def refused(t: TestBench) -> None:
        with pytest.raises(HangupError):
            async with t.websocket("/ws/probe/v1") as socket:
                await socket.receive()

    run(tmp_path, allowed, env={"MCM.WEBSOCKET_SUPPORT": "true"})
    run(tmp_path, refused)


def test_a_fault_of_the_file_names_its_line(tmp_path: Path) -> None:
    async def never(_: TestBench) -> None:
        raise AssertionError

    with pytest.raises(ServiceError, match=r"index\.js, line 3"):
        run(tmp_path, never, "\n\nmimikModule.exports = oops;")


@pytest.mark.parametrize("has_manifest", [False, True])
def test_a_script_without_rights_of_its_own_gets_those_of_its_environment(
    has_manifest: bool, tmp_path: Path
) -> None:
    (tmp_path / "index.js").write_text(CODE)
    if has_manifest:
        (tmp_path / "microservice.toml").write_text('name = "probe"\n')

    async def main() -> None:
        env = {"MCM.MQTT_TRIGGERS": "in/+", "MCM.MQTT_PUBLISH": "out"}
        async with ScriptTest(tmp_path, env=env) as t:
            await t.publish("in/a", "1")
            assert [each.topic for each in t.published] == ["out"]
        async with ScriptTest(tmp_path, env={"MCM.MQTT_TRIGGERS": "in/+"}) as t:
            await t.publish("in/a", "1")
            assert t.published == []
            assert len(t.dead_letters) == 1

    asyncio.run(main())
