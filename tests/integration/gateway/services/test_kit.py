"""The kit in real containers: state, settings, schedules, requests, logs."""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from websockets.asyncio.client import unix_connect

from gateway.cli.services.log_lines import LogParser
from tests.aio import until
from tests.integration.gateway.services.world import Person, World, world, write_service
from tests.paho_client import V5, Paho, properties_for

CONTAINER = "/mcm/v1/containers/api-probe"
STATE = """
@service.put("/{key}")
async def put(request):
    await service.state.set(request["key"], await request.json())

@service.get("/{key}")
async def get(request): return {"value": await service.state.get(request["key"])}
"""


# case S15
def test_state_survives_kills_and_updates_and_goes_with_its_container(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "v1", STATE), "probe")
            assert (await here.http.put("/api/probe/v1/a", json={"x": 1})).status_code == 200
            os.kill(here.pid("api-probe"), signal.SIGKILL)
            await until(lambda: here.state("api-probe") == "restarting")
            await until(lambda: here.state("api-probe") == "started")
            assert (await here.http.get("/api/probe/v1/a")).json() == {"value": {"x": 1}}
            write_service(tmp_path / "v2", f"{STATE}\n# changed")
            await here.deploy(tmp_path / "v2", "probe")
            assert (await here.http.get("/api/probe/v1/a")).json() == {"value": {"x": 1}}
            await here.http.delete(CONTAINER)
            await here.deploy(tmp_path / "v2", "probe")
            assert (await here.http.get("/api/probe/v1/a")).json() == {"value": None}

    asyncio.run(run())


# case S15
def test_a_damaged_store_stops_only_its_container_and_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            for name in ("probe", "other"):
                await here.deploy(write_service(tmp_path / name, STATE, name=name), name)
                await here.http.put(f"/api/{name}/v1/a", json=1)
            await here.http.put(CONTAINER, json={"state": "stopped"})
            store = tmp_path / "state/containers/api-probe/data/store.db"
            for left_over in store.parent.glob("store.db-*"):
                left_over.unlink()
            store.write_bytes(b"")
            refused = await here.http.put(CONTAINER, json={"state": "started"})
            assert refused.status_code == 422
            (row,) = [c for c in here.host.containers() if c.id == "api-probe"]
            assert row.state == "failed"
            assert "store.db is empty; `hecate rm` and `hecate deploy` make a new one" in row.error
            assert store.read_bytes() == b"", "nothing is written over it"
            assert (await here.http.get("/api/other/v1/a")).json() == {"value": 1}

    asyncio.run(run())


# case S15
def test_a_store_that_is_damaged_while_it_runs_ends_its_container(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "v1", STATE), "probe")
            store = tmp_path / "state/containers/api-probe/data/store.db"
            store.write_bytes(os.urandom(8192))
            answer = await here.http.get("/api/probe/v1/a")
            assert answer.status_code in (500, 502)
            await until(lambda: "store.db is damaged" in here.host.containers()[0].error)

    asyncio.run(run())


SETTINGS_TOML = """
[settings.limit]
type = "number"
default = 30
[settings.place]
type = "string"
[secrets]
names = ["key"]
"""
SETTINGS = """
changes, boot = [], os.urandom(8).hex()

@service.on_settings
async def changed(): changes.append(service.settings["limit"])

@service.get("/")
async def root(_):
    return {"boot": boot, "settings": dict(service.settings), "changes": changes,
            "key": service.secrets.get("key"), "env": dict(os.environ)}
"""


def test_settings_are_given_checked_and_changed_without_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            write_service(tmp_path / "v1", SETTINGS, toml=SETTINGS_TOML)
            image = (await here.upload(tmp_path / "v1")).json()["name"]
            body: dict[str, Any] = {"name": "probe", "image": image}
            refused = await here.http.post("/mcm/v1/containers", json=body)
            assert (refused.status_code, "setting place has no value" in refused.text) == (
                400,
                True,
            )
            assert here.host.containers() == []
            body["settings"] = {"place": "attic", "limit": "31.5"}
            made = await here.http.post("/mcm/v1/containers", json=body)
            assert made.status_code == 201
            assert made.json()["settings"] == {"place": "attic", "limit": 31.5}
            before = (await here.http.get("/api/probe/v1/")).json()
            assert before["settings"] == {"place": "attic", "limit": 31.5}

            async def change(**settings: Any) -> int:
                return (await here.http.put(CONTAINER, json={"settings": settings})).status_code

            assert await change(limit=20) == 200
            await until_answer(here, lambda now: now["changes"] == [20])
            assert await change(limit="warm") == 400
            assert await change(limits=20) == 400
            assert await change(limit=None) == 200
            await until_answer(here, lambda now: now["changes"] == [20, 30])
            after = (await here.http.get("/api/probe/v1/")).json()
            assert after["boot"] == before["boot"], "it was started again"
            await here.restart_host()
            await until(lambda: here.state("api-probe") == "started")
            again = (await here.http.get("/api/probe/v1/")).json()
            assert again["settings"] == {"place": "attic", "limit": 30}

    asyncio.run(run())


async def until_answer(here: World, wanted: Any) -> None:
    async def answers() -> bool:
        return bool(wanted((await here.http.get("/api/probe/v1/")).json()))

    async with asyncio.timeout(30):
        while not await answers():  # noqa: ASYNC110  # another process answers
            await asyncio.sleep(0.01)


# case S22
def names_of_files_with(text: str, folder: Path) -> list[str]:
    """Look through a folder in which files come and go."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it has gone, or is a socket
                if text.encode() in Path(parent, name).read_bytes():
                    found.append(name)
    return found


def test_a_secret_reaches_its_service_and_nothing_else(tmp_path: Path) -> None:
    secret = "hunter2-7b1f"

    async def run() -> None:
        async with world(tmp_path) as here:
            write_service(tmp_path / "v1", SETTINGS, toml=SETTINGS_TOML)
            image = (await here.upload(tmp_path / "v1")).json()["name"]
            body = {
                "name": "probe", "image": image,
                "settings": {"place": "attic"}, "secrets": {"key": secret},
            }  # fmt: skip
            made = await here.http.post("/mcm/v1/containers", json=body)
            answer = (await here.http.get("/api/probe/v1/")).json()
            assert answer.pop("key") == secret
            assert made.json()["secrets"] == ["key"]
            listed = await here.http.get("/mcm/v1/containers")
            wrong = await here.http.put(CONTAINER, json={"secrets": {"kye": secret}})
            assert wrong.status_code == 400
            process = Path(f"/proc/{here.pid('api-probe')}")
            shown = [
                made.text, listed.text, wrong.text, json.dumps(answer), here.log("api-probe"),
                (process / "environ").read_text(), (process / "cmdline").read_text(),
            ]  # fmt: skip
            for text in shown:
                assert secret not in text
            assert names_of_files_with(secret, tmp_path / "state") == ["values.json"]
            boot = answer["boot"]
            changed = await here.http.put(CONTAINER, json={"secrets": {"key": "another"}})
            assert changed.status_code == 200
            now = (await here.http.get("/api/probe/v1/")).json()
            assert (now["key"], now["boot"] != boot) == ("another", True)

    asyncio.run(run())


TIMER = """
@service.every(0.1)
async def tick():
    with open("ticks", "a") as file:
        file.write(f"{VERSION}\\n")
    await service.publish("out", {"seq": VERSION})

@service.get("/slow")
async def slow(request): await asyncio.sleep(1)

@service.on_start
async def start():
    if os.path.exists("broken"): raise ValueError("no sensor")
"""
TIMER_MQTT = '[mqtt]\npublish = ["out"]\n'


# case S6
def test_the_schedules_of_an_old_version_end_at_the_switch(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            for version in (1, 2):
                code = f"VERSION = {version}\n{TIMER}"
                write_service(tmp_path / f"v{version}", code, toml=TIMER_MQTT)
            await here.deploy(tmp_path / "v1", "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                await until(lambda: person.seqs("out").count(1) >= 2)
                broken = tmp_path / "state/containers/api-probe/data/broken"
                broken.touch()
                refused = await here.upload(tmp_path / "v2")
                assert refused.status_code == 422
                before = len(person.got)
                await until(lambda: len(person.got) >= before + 2)
                assert set(person.seqs("out")) == {1}, "the old version goes on"
                broken.unlink()
                slow = asyncio.create_task(here.http.get("/api/probe/v1/slow"))
                assert (await here.upload(tmp_path / "v2")).status_code == 201
                await until(lambda: person.seqs("out").count(2) >= 3)
                assert (await slow).status_code == 200, "the old version lived on meanwhile"
                seen = person.seqs("out")
                assert seen == sorted(seen), "the old version published after the switch"
                ticks = (broken.parent / "ticks").read_text().split()
                assert ticks == sorted(ticks), "a schedule of the old version ran on"

    asyncio.run(run())


ASKING = """
@service.get("/{name}")
async def ask(request):
    try:
        limit_s = 60.0 if request["name"] == "clock" else 0.5
        answer = await service.request(f"ask/{request['name']}", {"n": 1}, timeout=limit_s)
    except RequestTimeoutError as exc:
        return Response({"error": str(exc)}, 504)
    return {"answer": answer.json(), "type": answer.content_type}
"""
ANSWERING = """
@service.on("ask/clock")
async def clock(message):
    return {"n": message.json()["n"] + 1, "expires": message.expiry_s}
"""


def test_a_service_asks_another_one_and_gets_its_response(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            toml = '[mqtt]\npublish = ["ask/+"]\n'
            await here.deploy(write_service(tmp_path / "a", ASKING, toml=toml), "probe")
            toml = '[mqtt]\nsubscribe = ["ask/clock"]\n'
            code = write_service(tmp_path / "b", ANSWERING, name="clock", toml=toml)
            await here.deploy(code, "clock")
            answers = await asyncio.gather(
                *(here.http.get("/api/probe/v1/clock") for _ in range(20))
            )
            said = [a.json()["answer"] for a in answers]
            assert [each["n"] for each in said] == [2] * 20
            assert all(0 < each["expires"] <= 60 for each in said)
            assert {a.json()["type"] for a in answers} == {""}
            nobody = await here.http.get("/api/probe/v1/nobody")
            assert nobody.status_code == 504
            assert nobody.json()["error"] == ("cannot request ask/nobody: no response within 0.5 s")
            assert (await here.http.get("/api/probe/v1/clock")).status_code == 200

    asyncio.run(run())


SEEING = """
counted = service.counter("seen", "Messages seen")

@service.on("in/{x}")
async def see(message):
    counted.add(x=message["x"])
    service.log.warning("seen", x=message["x"], value=message.json())
    print("a plain line")
    await service.publish("out", {"seq": 1}, content_type="application/json", expiry=60)

@service.get("/")
async def root(request):
    await service.publish("out", {"seq": 2})
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_logs_metrics_and_traces_follow_a_message(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            toml = '[mqtt]\nsubscribe = ["in/+"]\npublish = ["out"]\n'
            await here.deploy(write_service(tmp_path / "v1", SEEING, toml=toml), "probe")
            with Paho("person", V5) as person:
                await asyncio.to_thread(person.connect, "127.0.0.1", here.mqtt_port)
                await asyncio.to_thread(person.subscribe, "out")
                traced = properties_for(PacketTypes.PUBLISH, UserProperty=[("traceparent", PARENT)])
                person.client.publish("in/7", b'{"v": 1}', properties=traced)
                first = await asyncio.to_thread(person.take)
                await here.http.get("/api/probe/v1/", headers={"traceparent": PARENT})
                second = await asyncio.to_thread(person.take)
            carried: list[Any] = [first.properties, second.properties]  # fields of run time
            for properties in carried:
                ((name, value),) = properties.UserProperty
                assert (name, value.split("-")[1]) == ("traceparent", TRACE)
                assert value != PARENT
            assert carried[0].ContentType == "application/json"
            assert 0 < carried[0].MessageExpiryInterval <= 60
            await until(lambda: "a plain line" in here.log("api-probe"))
            parser = LogParser()
            log = here.log("api-probe").splitlines()
            lines = [parser.parse(line).as_object() for line in log]
            (entry,) = [line for line in lines if line["line"] == "seen"]
            assert (entry["level"], entry["trace"]) == ("warning", TRACE)
            assert entry["fields"] == {"x": "7", "value": {"v": 1}}
            await until(lambda: here.host.samples()["api-probe"])
            (sample,) = here.host.samples()["api-probe"]
            assert (sample.name, sample.labels, sample.value) == ("seen", {"x": "7"}, 1.0)

    asyncio.run(run())


SOCKETS = """
@service.websocket("/live")
async def live(socket):
    async for text in socket:
        await socket.send({"got": text})
"""


def test_a_container_serves_websockets_on_its_socket(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "v1", SOCKETS), "probe")
            (path,) = (tmp_path / "run").glob("*.sock")
            async with unix_connect(str(path), uri="ws://service/live") as client:
                await client.send("hello")
                assert json.loads(await client.recv()) == {"got": "hello"}

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["settings", "secrets"])
def test_values_that_are_no_object_are_refused(tmp_path: Path, kind: str) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            body = {"name": "probe", "image": "probe-v1", kind: ["x"]}
            refused = await here.http.post("/mcm/v1/containers", json=body)
            assert refused.status_code == 400
            assert f"{kind} is not an object" in refused.text

    asyncio.run(run())


CALLING = """
@service.get("/{path}")
async def ask(request):
    answer = await service.call("api-clock", f"/{request['path']}", {"n": 1})
    return {"status": answer.status, "answer": answer.json()}
"""
CALLED = """
@service.post("/now")
async def now(request):
    return {"got": await request.json(), "trace": request.headers["traceparent"]}
"""


def test_a_service_calls_another_one_by_its_type(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "a", CALLING), "probe")
            await here.deploy(write_service(tmp_path / "b", CALLED, name="clock"), "clock")
            traced = {"traceparent": PARENT}
            answer = (await here.http.get("/api/probe/v1/now", headers=traced)).json()
            assert (answer["status"], answer["answer"]["got"]) == (200, {"n": 1})
            assert answer["answer"]["trace"].split("-")[1] == TRACE
            assert answer["answer"]["trace"] != PARENT
            missing = (await here.http.get("/api/probe/v1/nowhere")).json()
            assert missing["status"] == 404, missing

    asyncio.run(run())
