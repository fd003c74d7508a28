"""Deploying, replacing, crashing, deleting: what one container does is its own affair."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.aio import until
from tests.integration.gateway.services.world import CLIMATE, Person, world, write_service
from tests.programs import Program

READINGS = "devices/attic/readings/temperature"
FAHRENHEIT = "rooms/attic/fahrenheit"
GOOD = """
@service.get("/")
async def root(_): return {"version": VERSION}
"""
COUNTING = """
@service.on("in/{n}")
async def count(message):
    await asyncio.sleep(0.002)
    await service.publish("out", {"seq": int(message["n"]), "version": VERSION})
"""
MQTT = '[mqtt]\nsubscribe = ["in/+"]\npublish = ["out"]\n'


def test_a_new_version_takes_over_without_losing_or_repeating_a_message(tmp_path: Path) -> None:
    count = 400

    async def run() -> None:
        async with world(tmp_path) as here:
            for version in (1, 2):
                code = f"VERSION = {version}\n{COUNTING}"
                write_service(tmp_path / f"v{version}", code, toml=MQTT)
            await here.deploy(tmp_path / "v1", "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                replacing = None
                for seq in range(count):
                    person.publish(f"in/{seq}", None)
                    if seq == count // 4:
                        replacing = asyncio.create_task(here.upload(tmp_path / "v2"))
                    await asyncio.sleep(0.003)
                assert replacing is not None
                assert (await replacing).status_code == 201
                await until(lambda: set(person.seqs("out")) == set(range(count)))
            assert len(person.seqs("out")) == count, "a message was handled twice"
            assert [v["version"] for _, v in person.got] == sorted(
                v["version"] for _, v in person.got
            )
            assert person.got[-1][1]["version"] == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("def x(:", "SyntaxError"),
        ("os._exit(3)", "it exited with status 3"),
        ("time.sleep(60)", "it was not ready within"),
        ("print('out of luck'); os.kill(os.getpid(), 9)", "SIGKILL: out of luck"),
        ("service = None", "it has 0 Services, not one"),
        ("@service.on_start\nasync def start(): raise ValueError('no sensor')", "no sensor"),
        ('@service.on("secret/x")\nasync def on(m): ...', "secret/x is not in [mqtt] subscribe"),
        ("os.write(int(sys.argv[1]), b'hello\\n')\ntime.sleep(9)", "control protocol"),
    ],
)
def test_a_version_that_fails_leaves_the_old_one_running(
    tmp_path: Path, code: str, why: str
) -> None:
    async def run() -> None:
        async with world(tmp_path, stop_s=0.5) as here:
            write_service(tmp_path / "v1", f"VERSION = 1\n{GOOD}{COUNTING}", toml=MQTT)
            start_s = 1 if why.startswith("it was not ready") else 30
            write_service(tmp_path / "v2", code, toml=f"{MQTT}[limits]\nstart_s = {start_s}\n")
            await here.deploy(tmp_path / "v1", "probe")
            refused = await here.upload(tmp_path / "v2")
            assert refused.status_code == 422
            assert "cannot start api-probe: " in refused.json()["detail"]
            assert why in refused.json()["detail"]
            assert (await here.http.get("/api/probe/v1/")).json() == {"version": 1}
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                person.publish("in/7", None)
                await until(lambda: person.seqs("out") == [7])
            assert here.state("api-probe") == "started"

    asyncio.run(run())


def test_a_crashing_service_fails_clearly_and_blocks_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            write_service(tmp_path / "bad", "raise RuntimeError('no sensor')", name="bad")
            await here.upload(tmp_path / "bad")
            refused = await here.create("bad", "bad-v1")
            assert refused.status_code == 422
            assert "RuntimeError: no sensor (service.py, line 4)" in refused.json()["detail"]
            await here.deploy(CLIMATE, "climate")
            assert (await here.http.get("/api/climate/v1/rooms")).status_code == 200
            (bad,) = [c for c in here.host.containers() if c.id == "api-bad"]
            assert (bad.state, bad.error) == (
                "failed",
                "cannot load service.py: RuntimeError: no sensor (service.py, line 4)",
            )
            away = await here.http.get("/api/bad/v1/")
            assert away.status_code == 503
            assert away.headers["retry-after"] == "1"
            write_service(tmp_path / "bad", f"VERSION = 2\n{GOOD}", name="bad")
            await here.deploy(tmp_path / "bad", "bad")
            assert (await here.http.get("/api/bad/v1/")).json() == {"version": 2}

    asyncio.run(run())


def test_a_process_that_keeps_dying_is_failed_then_comes_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            code = f"""VERSION = 1
if os.path.exists("broken"):
    sys.exit("the sensor is broken")
{GOOD}"""
            write_service(tmp_path / "v1", code)
            await here.deploy(tmp_path / "v1", "probe")
            broken = tmp_path / "state/containers/api-probe/data/broken"
            broken.touch()
            os.kill(here.pid("api-probe"), signal.SIGKILL)
            await until(lambda: here.state("api-probe") == "restarting")
            await until(lambda: "broken" in here.host.containers()[0].error)
            broken.unlink()
            await until(lambda: here.state("api-probe") == "started")
            assert (await here.http.get("/api/probe/v1/")).json() == {"version": 1}

    asyncio.run(run())


def test_containers_survive_the_gateway(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(CLIMATE, "climate")
            with Person(here.mqtt_port) as person:
                await person.subscribe("rooms/#")
                before = here.pid("api-climate")
                stopping = asyncio.create_task(here.restart_host())
                for seq in range(50):
                    person.publish(READINGS, {"value": seq, "seq": seq})
                    await asyncio.sleep(0.005)
                await stopping
                await until(lambda: set(person.seqs(FAHRENHEIT)) == set(range(50)))
            assert here.pid("api-climate") != before

    asyncio.run(run())


def test_deploying_the_same_again_changes_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(CLIMATE, "climate")
            pid = here.pid("api-climate")
            await here.deploy(CLIMATE, "climate")
            assert here.pid("api-climate") == pid
            changed = await here.create("climate", "climate-v1", {"KEY": "2"})
            assert changed.json()["env"]["KEY"] == "2"
            await until(lambda: not is_process(pid))

    asyncio.run(run())


def test_a_deleted_container_is_gone(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            before = here.broker.counters.subscriptions
            await here.deploy(CLIMATE, "climate")
            pid = here.pid("api-climate")
            assert here.broker.counters.subscriptions == before + 1
            deleted = await here.http.delete("/mcm/v1/containers/api-climate")
            assert deleted.json()["id"] == "api-climate"
            assert not is_process(pid)
            assert here.host.find("/api/climate/v1/rooms") is None
            assert here.broker.counters.subscriptions == before, "its session is still kept"
            assert not (tmp_path / "state/containers/api-climate").exists()
            again = await here.http.delete("/mcm/v1/containers/api-climate")
            assert again.status_code == 404
            assert (await here.http.delete("/mcm/v1/images/api-climate-v1")).status_code == 200
            assert list((tmp_path / "state/contents").iterdir()) == []
            assert list((tmp_path / "run").iterdir()) == []

    asyncio.run(run())


def is_process(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_containers_end_with_a_killed_gateway_and_start_with_the_next(tmp_path: Path) -> None:
    async def run() -> None:
        command = [sys.executable, "-m", "tests.integration.gateway.services.orphan", str(tmp_path)]
        with Program(command) as gateway:
            pid = int(gateway.wait_for(r"pid (\d+)")[1])
            gateway.process.kill()
            await until(lambda: not is_process(pid))
        async with world(tmp_path) as here:
            await until(lambda: here.state("api-climate") == "started")
            assert (await here.http.get("/api/climate/v1/rooms")).status_code == 200

    asyncio.run(run())
