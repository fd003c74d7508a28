"""Stopping, starting and restarting containers, and reading their logs, over the mCM API."""

import asyncio
import re
import sqlite3
from pathlib import Path

import httpx

from tests.aio import until
from tests.integration.gateway.services.world import Person, World, world, write_service

CODE = """
@service.get("/")
async def root(_): return {"pid": os.getpid()}

@service.post("/say")
async def say(request):
    sys.stdout.write((await request.body()).decode())
    return {}

@service.on("in/+")
async def received(message):
    await service.publish("out", {"seq": message.json()})
"""
MQTT = '[mqtt]\nsubscribe = ["in/+"]\npublish = ["out"]\n'
ONE = "/mcm/v1/containers/api-probe"
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "


async def change(here: World, state: str) -> httpx.Response:
    return await here.http.put(ONE, json={"state": state})


def test_a_stopped_container_stays_so_until_it_is_started(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE, toml=MQTT), "probe")
            assert (await change(here, "stopped")).json()["state"] == "stopped"
            assert here.host.services() == ()
            away = await here.http.get("/api/probe/v1/")
            assert away.status_code == 503
            assert "`hecate start api-probe` starts it" in away.json()["detail"]
            assert (await change(here, "stopped")).json()["state"] == "stopped"
            await here.restart_host()
            assert here.state("api-probe") == "stopped"
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                for seq in range(3):
                    person.publish(f"in/{seq}", seq)
                # the API still asks the host of before
                started = here.host._deployments.start_container("api", "api-probe")
                assert (await started).supervisor.state == "started"
                await until(lambda: person.seqs("out") == [0, 1, 2])

    asyncio.run(run())


def test_a_restart_is_a_new_process_and_a_start_is_not(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE, toml=MQTT), "probe")
            first = here.pid("api-probe")
            assert (await change(here, "started")).json()["state"] == "started"
            assert here.pid("api-probe") == first
            restarted = (await change(here, "restarted")).json()
            assert restarted["state"] == "started"
            assert restarted["startedAt"] > 0
            answer = (await here.http.get("/api/probe/v1/")).json()
            assert answer["pid"] != first
            assert (await here.http.get(ONE)).json()["restarts"] == 0

    asyncio.run(run())


def test_a_stopped_container_takes_a_newer_image_when_it_is_started(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE, toml=MQTT), "probe")
            await change(here, "stopped")
            write_service(tmp_path / "src", 'print("newer")\n' + CODE, toml=MQTT)
            assert (await here.upload(tmp_path / "src")).status_code == 201
            assert here.state("api-probe") == "stopped"
            assert (await change(here, "started")).json()["state"] == "started"
            await until(lambda: "newer" in here.log("api-probe"))

    asyncio.run(run())


def test_what_is_no_container_or_state_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            assert (await change(here, "started")).status_code == 404
            assert (await here.http.get(ONE)).status_code == 404
            assert (await here.http.get(f"{ONE}/logs")).status_code == 404
            for body in (b"{", b"[]", b"{}", b'{"state": 1}', b'{"state": "created"}'):
                assert (await here.http.put(ONE, content=body)).status_code == 400

    asyncio.run(run())


def test_a_log_has_the_time_of_each_line_and_can_be_followed(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE, toml=MQTT), "probe")
            say = "/api/probe/v1/say"
            await here.http.post(say, content=b"one\ntwo\nthr")
            await here.http.post(say, content=b"ee\n")
            await until(lambda: here.log("api-probe").endswith("ee\n"))
            log = (await here.http.get(f"{ONE}/logs", params={"tail": 2})).text
            assert re.fullmatch(f"{STAMP}two\n{STAMP}three\n", log)
            assert (await here.http.get(f"{ONE}/logs", params={"tail": 0})).text == ""
            assert (await here.http.get(f"{ONE}/logs", params={"tail": -1})).status_code == 422
            query = {"tail": "1", "follow": "true"}
            async with here.http.stream("GET", f"{ONE}/logs", params=query) as response:
                lines = response.aiter_lines()
                assert (await anext(lines)).endswith(" three")
                await here.http.post(say, content=b"four\n")
                assert re.fullmatch(f"{STAMP}four", await anext(lines))
                await change(here, "restarted")
                await here.http.post(say, content=b"five\n")
                assert (await anext(lines)).endswith(" five")
                assert (await here.http.delete(ONE)).is_success
                assert [line async for line in lines] == []

    asyncio.run(run())


def test_a_burst_of_followers_is_bounded(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, followers=3) as here:
            await here.deploy(write_service(tmp_path / "src", CODE, toml=MQTT), "probe")

            async def follow() -> int:
                query = {"follow": "true"}
                async with here.http.stream("GET", f"{ONE}/logs", params=query) as response:
                    statuses.append(response.status_code)
                    await enough.wait()
                    return response.status_code

            statuses: list[int] = []
            enough = asyncio.Event()
            following = [asyncio.create_task(follow()) for _ in range(8)]
            await until(lambda: len(statuses) == 8)
            enough.set()
            assert sorted(await asyncio.gather(*following)) == [200] * 3 + [503] * 5

    asyncio.run(run())


def test_a_catalogue_of_before_is_read(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE, toml=MQTT), "probe")
        with sqlite3.connect(tmp_path / "state/catalogue.db") as db:
            db.execute("ALTER TABLE container DROP COLUMN stopped")
            db.execute("ALTER TABLE image DROP COLUMN signature")
            db.execute("DROP TABLE version")
            db.execute("PRAGMA user_version = 0")
        db.close()
        async with world(tmp_path) as here:
            await until(lambda: here.state("api-probe") == "started")
            assert (await change(here, "stopped")).json()["state"] == "stopped"

    asyncio.run(run())


# case G17
def test_clients_that_take_nothing_do_not_keep_their_places(tmp_path: Path) -> None:
    code = """
@service.get("/much")
async def much(_):
    async def chunks():
        while True:
            yield bytes(65536)
    return Response(chunks())

@service.post("/take")
async def take(request): return {"size": len(await request.body())}

@service.post("/ignore")
async def ignore(_): await asyncio.sleep(60)

@service.get("/")
async def root(_): return {}
"""

    async def run() -> None:
        async with world(tmp_path, requests=4, stall_s=0.5) as here:
            await here.deploy(write_service(tmp_path / "src", code), "probe")
            clients = []
            for _ in range(4):
                reader, writer = await asyncio.open_unix_connection(str(tmp_path / "api.sock"))
                writer.write(b"GET /api/probe/v1/much HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readline()
                clients.append(writer)
            assert (await here.http.get("/api/probe/v1/")).status_code == 503
            await until(lambda: not here.host._proxy.open_requests())
            assert (await here.http.get("/api/probe/v1/")).status_code == 200
            for writer in clients:
                writer.transport.abort()
            # the other direction: half a body, and a body that the service does not read
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "api.sock"))
            head = b"POST /api/probe/v1/take HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
            writer.write(head + b"half")
            assert b" 408 " in await reader.readline()
            writer.transport.abort()
            ignored = await here.http.post("/api/probe/v1/ignore", content=bytes(4_000_000))
            assert ignored.status_code == 504
            assert "the microservice takes nothing of it" in ignored.json()["detail"]

    asyncio.run(run())
