"""JavaScript microservices on a gateway: deployed, reached over HTTP, triggered over MQTT."""

import asyncio
import json
from pathlib import Path

import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import InvalidStatus

from tests.aio import until
from tests.integration.gateway.services.world import Person, world
from tests.programs import PATIENCE

ROUTER = (Path(__file__).parents[2] / "microservice/javascript/bundles/router.js").read_text()
HANDLER = """
mimikModule.exports = async (context, request, response) => {
  if (request.url !== '/mqtt') return response.end(JSON.stringify([context.info, request.url]));
  const message = JSON.parse(request.body);
  if (message.payload === '"fail"') throw Error('told to fail');
  await context.mqtt.publish('out/' + message.topic.split('/')[1], message.payload);
  response.end();
};
"""
ENV = {"MCM.MQTT_TRIGGERS": "in/+", "MCM.MQTT_PUBLISH": "out/+"}


def write_script(directory: Path, code: str, toml: str = "") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "index.js").write_text(code)
    (directory / "microservice.toml").write_text(
        f'name = "probe"\n[http]\nbase = "/probe/v1"\n{toml}'
    )
    return directory


def test_a_bundle_is_reached_over_http(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_script(tmp_path / "probe", ROUTER), "probe")
            hello = await here.http.get("/api/probe/v1/hello?x=1")
            assert (hello.status_code, hello.json()) == (200, {"JSONMessage": "hello"})
            missing = await here.http.get("/api/probe/v1/none")
            assert missing.status_code == 404
            assert missing.text == "Cannot GET /none"
            answers = await asyncio.gather(
                *(here.http.get("/api/probe/v1/hello") for _ in range(40))
            )
            assert {one.status_code for one in answers} == {200}

    asyncio.run(run())


def test_messages_reach_the_handler_and_leave_it_unharmed(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            uploaded = await here.upload(write_script(tmp_path / "probe", HANDLER))
            created = await here.create("probe", uploaded.json()["name"], ENV)
            assert created.status_code == 201, created.text
            with Person(here.mqtt_port) as person:
                await person.subscribe("out/#")
                for seq in range(20):
                    person.publish("in/a", {"seq": seq, "id": 1724442618569203714})
                person.publish("in/a", "fail")
                person.publish("in/a", {"seq": 20})
                await until(lambda: len(person.got) == 21)
                assert person.seqs("out/a") == list(range(21))
                ids = [value.get("id") for _, value in person.got]
                assert ids == [1724442618569203714] * 20 + [None]
            info, url = (await here.http.get("/api/probe/v1/x?y=1")).json()
            assert url == "/x?y=1"
            assert info["serviceType"] == "api-probe"
            assert info["apiRoot"] == "/api/probe/v1"
            assert all(isinstance(value, str) for value in info.values())
            await until(lambda: "told to fail (index.js:5)" in here.log("api-probe"))

    asyncio.run(run())


LATE = """
mimikModule.exports = async (context, request, response) => {
  response.end('soon');
  await new Promise((done) => setTimeout(done, 20));
  await context.mqtt.publish('out/late', '{"seq": 1}');
};
"""


def test_a_script_goes_on_after_its_answer_and_is_counted(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            uploaded = await here.upload(write_script(tmp_path / "probe", LATE))
            created = await here.create("probe", uploaded.json()["name"], ENV)
            assert created.status_code == 201, created.text
            with Person(here.mqtt_port) as person:
                await person.subscribe("out/#")
                for _ in range(3):
                    assert (await here.http.get("/api/probe/v1/")).text == "soon"
                await until(lambda: len(person.got) == 3)
            async with asyncio.timeout(10 * PATIENCE):  # counts come each second
                while True:
                    shown = (await here.http.get("/mcm/v1/containers/api-probe")).json()
                    if shown["handled"] == 3:
                        break
                    await asyncio.sleep(0.05)

    asyncio.run(run())


def test_events_reach_websockets_through_the_gateway(tmp_path: Path) -> None:
    async def run() -> None:
        code = """mimikModule.exports = (context, request, response) => {
          context.dispatchWebSocketEvent({ type: 'data_sync', message: request.url });
          response.end();
        };"""
        async with world(tmp_path) as here:
            uploaded = await here.upload(write_script(tmp_path / "probe", code))
            env = {"MCM.WEBSOCKET_SUPPORT": "true"}
            await here.create("probe", uploaded.json()["name"], env)
            address = "ws://gateway/ws/api/probe/v1"
            async with unix_connect(str(tmp_path / "api.sock"), address) as client:
                assert (await here.http.get("/api/probe/v1/x")).status_code == 200
                async with asyncio.timeout(30):
                    frame = json.loads(await client.recv())
                assert frame == {"type": "data_sync", "message": "/x"}
            await here.create("probe", uploaded.json()["name"], {})
            with pytest.raises(InvalidStatus):
                async with unix_connect(str(tmp_path / "api.sock"), address):
                    pass

    asyncio.run(run())


def test_scripts_call_others_and_themselves_without_a_deadlock(tmp_path: Path) -> None:
    async def run() -> None:
        code = """mimikModule.exports = async (context, request, response) => {
          const left = Number(request.url.slice(1));
          if (left === 204) { response.statusCode = 204; return response.end('no body'); }
          if (!left) return response.end('done');
          const url = 'http://localhost:' + context.info.httpPort + context.info.apiRoot;
          const answer = await context.http.request({ url: `${url}/${left - 1}` });
          response.end(answer.data);
        };"""
        async with world(tmp_path) as here:
            await here.deploy(write_script(tmp_path / "probe", code), "probe")
            calls = (here.http.get("/api/probe/v1/5") for _ in range(2))
            assert [one.text for one in await asyncio.gather(*calls)] == ["done", "done"]
            assert (await here.http.get("/api/probe/v1/204")).status_code == 204

    asyncio.run(run())


def test_a_script_that_cannot_be_loaded_is_told_with_its_line(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            good = await here.upload(write_script(tmp_path / "v1", HANDLER))
            await here.create("probe", good.json()["name"])
            bad = await here.upload(write_script(tmp_path / "v2", f"{HANDLER}\nvar x = ;"))
            assert bad.status_code >= 400
            assert "index.js, line 10" in json.dumps(bad.json())
            assert (await here.http.get("/api/probe/v1/")).status_code == 200  # the old one

    asyncio.run(run())


def test_a_new_version_takes_over_without_losing_a_message(tmp_path: Path) -> None:  # case S6
    async def run() -> None:
        async with world(tmp_path) as here:
            ticking = HANDLER.replace(
                "response.end();",
                "response.end();"
                "setInterval(() => context.mqtt.publish('out/tick', '{\"version\": VERSION}'), 1);"
                "for (let i = 0; i < 5; i++) await context.mqtt.publish('out/slow', '{}');",
            )
            v1 = write_script(tmp_path / "v1", ticking.replace("VERSION", "1"))
            v2 = write_script(tmp_path / "v2", HANDLER)
            uploaded = await here.upload(v1)
            await here.create("probe", uploaded.json()["name"], ENV)
            with Person(here.mqtt_port) as person:
                await person.subscribe("out/#")
                replacing = None
                for seq in range(100):
                    person.publish("in/a", {"seq": seq})
                    if seq == 30:
                        replacing = asyncio.create_task(here.upload(v2))
                    await asyncio.sleep(0)
                assert replacing is not None
                assert (await replacing).status_code == 201
                await until(lambda: len(set(person.seqs("out/a"))) == 100)
                assert person.seqs("out/a") == list(range(100))
                ticks = [at for at, _ in person.got].count("out/tick")
                person.publish("in/a", {"seq": 100})
                await until(lambda: 100 in person.seqs("out/a"))
                # the timers of the old version have ended with its requests
                assert [at for at, _ in person.got].count("out/tick") == ticks

    asyncio.run(run())
