"""Posting again updates in place: no request or message is lost, and none is handled twice."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.aio import until
from tests.integration.gateway.services.world import Person, World, world, write_service

MQTT = '[mqtt]\npublish = ["tick", "said"]\n'
CODE = """
@service.post("/take/{n}")
async def take(request):
    with open("taken", "a") as file:
        file.write(request["n"] + "\\n")
    await asyncio.sleep(0.02)
    return {"version": VERSION}

@service.get("/stream/{pieces}")
async def stream(request):
    async def chunks():
        for number in range(int(request["pieces"])):
            yield f"{VERSION}:{number}\\n".encode()
            await asyncio.sleep(0.1)
    return Response(chunks())

@service.get("/late")
async def late(_):
    open("begun", "w").close()
    while not os.path.exists("go on"):
        await asyncio.sleep(0.01)
    try:
        await service.publish("said", {"seq": VERSION})
    except PublishError as exc:
        return {"error": str(exc)}

@service.on_start
async def tick():
    async def forever():
        while True:
            await service.publish("tick", {"seq": VERSION})
            await asyncio.sleep(0.02)
    global ticking
    ticking = asyncio.create_task(forever())
"""


def write_version(folder: Path, version: int) -> Path:
    return write_service(folder / f"v{version}", f"VERSION = {version}\n{CODE}", toml=MQTT)


async def send_requests(here: World, count: int, per_s: float) -> list[int]:
    """Send so many requests at an even rate; return their statuses."""

    async def take(number: int) -> int:
        return (await here.http.post(f"/api/probe/v1/take/{number}")).status_code

    sending = []
    for number in range(count):
        sending.append(asyncio.create_task(take(number)))
        await asyncio.sleep(1 / per_s)
    return await asyncio.gather(*sending)


# case S19
@pytest.mark.parametrize(
    "seconds", [3, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(240)])]
)
def test_a_repost_under_load_fails_no_request_and_repeats_none(
    tmp_path: Path, seconds: int
) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_version(tmp_path, 1), "probe")
            stream = asyncio.create_task(here.http.get(f"/api/probe/v1/stream/{seconds * 10}"))
            load = asyncio.create_task(send_requests(here, 100 * seconds, 100))
            for version in (2, 3):
                await asyncio.sleep(seconds / 4)
                assert (await here.upload(write_version(tmp_path, version))).status_code == 201
            statuses = Counter(await load)
            assert statuses == {200: 100 * seconds}
            lines = (await stream).text.split()
            assert lines == [f"1:{number}" for number in range(seconds * 10)]
            taken = (tmp_path / "state/containers/api-probe/data/taken").read_text().split()
            assert Counter(taken) == {str(number): 1 for number in range(100 * seconds)}
            assert (await here.http.post("/api/probe/v1/take/0")).json() == {"version": 3}

    asyncio.run(run())


# case S6
def test_a_replaced_version_publishes_nothing_any_more(tmp_path: Path) -> None:
    """Its timer runs on, because a stream keeps its process; what it publishes is refused."""

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_version(tmp_path, 1), "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("tick")
                await until(lambda: person.seqs("tick"))
                stream = asyncio.create_task(here.http.get("/api/probe/v1/stream/15"))
                late = asyncio.create_task(here.http.get("/api/probe/v1/late"))
                data = tmp_path / "state/containers/api-probe/data"
                await until(lambda: (data / "begun").exists())
                assert (await here.upload(write_version(tmp_path, 2))).status_code == 201
                (data / "go on").touch(0o644)
                error = (await late).json()["error"]
                assert "another version of this container has taken over" in error
                assert (await stream).text.endswith("1:14\n")
                answer = await here.http.post("/mcm/v1/containers/api-probe/rollback")
                assert answer.status_code == 200, answer.text
                assert answer.json()["version"] == 1
                at = len(person.got)
                await until(lambda: len(person.got) > at + 20)
                seqs = person.seqs("tick")
            turns = [v for v, before in zip(seqs, [0, *seqs], strict=False) if v != before]
            assert turns == [1, 2, 1]

    asyncio.run(run())


def test_a_handler_that_runs_ends_before_the_next_version_gets_messages(tmp_path: Path) -> None:
    code = """
@service.on("in/{n}")
async def slow(message):
    await service.publish("begun", {"seq": VERSION})
    await asyncio.sleep(2)  # longer than a process gets to stop
    await service.publish("said", {"seq": VERSION})
"""
    toml = '[mqtt]\nsubscribe = ["in/+"]\npublish = ["said", "begun"]\n'

    async def run() -> None:
        async with world(tmp_path, stop_s=1.0) as here:
            for version in (1, 2):
                text = f"VERSION = {version}\n{code}"
                write_service(tmp_path / f"v{version}", text, toml=toml)
            await here.deploy(tmp_path / "v1", "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("+")
                person.publish("in/1", None)
                await until(lambda: person.seqs("begun"))
                assert (await here.upload(tmp_path / "v2")).status_code == 201
                assert person.seqs("said") == [1]  # by the version that had begun, and once
                person.publish("in/2", None)
                await until(lambda: len(person.seqs("said")) > 1)
            assert person.seqs("said") == person.seqs("begun") == [1, 2]

    asyncio.run(run())


def test_the_api_of_versions_and_rollbacks(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, probation_s=0.2) as here:
            await here.deploy(write_version(tmp_path, 1), "probe")
            path = "/mcm/v1/containers/api-probe"
            await until(lambda: here.host.containers()[0].version == 1)
            changed = await here.http.put(path, json={"env": {"CITY": "Delft"}})
            assert changed.status_code == 200
            assert (changed.json()["version"], changed.json()["waiting"]) == (2, 0)
            versions = (await here.http.get(f"{path}/versions")).json()["data"]
            assert [(v["version"], v["state"], v["env"]) for v in versions] == [
                (2, "running", {"CITY": "Delft"}),
                (1, "replaced", {}),
            ]
            assert set(versions[0]) == {
                "version", "state", "good", "image", "imageId", "digest", "env", "created",
                "ended", "error",
            }  # fmt: skip
            back = await here.http.post(f"{path}/rollback", json={"version": 1})
            assert (back.status_code, back.json()["version"]) == (200, 1)
            asked: tuple[tuple[Any, int], ...] = (
                ({"version": 9}, 404),
                ({"version": "1"}, 400),
                (None, 409),
            )
            for body, status in asked:
                answer = await here.http.post(f"{path}/rollback", json=body)
                assert answer.status_code == status, answer.text
            for bad in ({"image": 1}, {"env": {"a": 1}}, {"state": "gone"}, {"image": "none-v1"}):
                answer = await here.http.put(path, json=bad)
                assert answer.status_code in (400, 404), answer.text
            other = await here.http.get(f"{path}/versions", headers={"x-client-id": "other"})
            assert other.status_code == 404

    asyncio.run(run())


# case S18
def test_a_version_that_crashes_soon_goes_back_by_itself_and_is_told(tmp_path: Path) -> None:
    crash = """
@service.on_start
async def end(): asyncio.get_running_loop().call_later(0.3, os._exit, 3)
"""

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_version(tmp_path, 1), "probe")
            source = write_service(tmp_path / "v2", f"VERSION = 2\n{CODE}{crash}", toml=MQTT)
            assert (await here.upload(source)).status_code == 201
            await until(lambda: here.host.containers()[0].note)
            await until(lambda: here.is_running("api-probe"))
            answer = await here.http.post("/api/probe/v1/take/1")
            assert answer.json() == {"version": 1}
            (status,) = here.host.containers()
            why = "it exited with status 3"
            expected = f"version 2 ended soon after its start: {why}; version 1 runs again"
            assert status.note == expected

    asyncio.run(run())
