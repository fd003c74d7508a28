"""The reason why a microservice did not start, or failed, helps to repair it."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.gateway.services.world import world, write_service

SLOW_LOAD = 'print("opening the camera")\nprint("camera: no answer")\ntime.sleep(60)\n'
SLOW_START = """
@service.on_start
async def start():
    print("asking the meter")
    await asyncio.sleep(60)
"""


# case G14
@pytest.mark.parametrize(
    ("code", "waited_for", "output"),
    [
        (SLOW_LOAD, "loading service.py", "opening the camera | camera: no answer"),
        (SLOW_START, "waiting for on_start", "asking the meter"),
        ("time.sleep(60)\n", "loading service.py", "it printed nothing"),
    ],
)
def test_a_slow_start_says_what_it_waited_for(
    tmp_path: Path, code: str, waited_for: str, output: str
) -> None:
    async def run() -> None:
        async with world(tmp_path, stop_s=0.3) as here:
            source = write_service(tmp_path / "src", code, toml="[limits]\nstart_s = 2\n")
            await here.upload(source)
            refused = await here.create("probe", "probe-v1")
            assert refused.status_code == 422
            why = refused.json()["detail"]
            assert "it was not ready within 2 s ([limits] start_s)" in why
            assert f"it was {waited_for}" in why
            assert output in why
            assert waited_for in here.host.containers()[0].error

    asyncio.run(run())


def test_a_slow_service_may_be_given_more_time(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, ready_s=0.05) as here:
            toml = "[limits]\nstart_s = 30\n"
            await here.deploy(write_service(tmp_path / "src", "", toml=toml), "probe")

    asyncio.run(run())


MEMORY = "[limits]\nmemory_mib = 16\n[mqtt]\nsubscribe = ['in']\n"
EATING = """
@service.get("/eat")
async def eat(_): return {"size": len(bytearray(500_000_000))}

@service.get("/map")
async def map_memory(_):
    import mmap
    mmap.mmap(-1, 500_000_000)

@service.get("/wrapped")
async def wrapped(_):
    try:
        bytearray(500_000_000)
    except MemoryError as exc:
        raise ValueError("the picture is broken") from exc

@service.on_start
async def start(): %s
"""


# case G14
@pytest.mark.parametrize(
    "code", ["bytearray(500_000_000)\n", EATING % "bytearray(500_000_000)"], ids=["load", "start"]
)
def test_a_start_that_needs_more_memory_names_the_limit(tmp_path: Path, code: str) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.upload(write_service(tmp_path / "src", code, toml=MEMORY))
            refused = await here.create("probe", "probe-v1")
            assert refused.status_code == 422
            assert (
                "MemoryError: out of memory: [limits] memory_mib = 16" in refused.json()["detail"]
            )

    asyncio.run(run())


# case G14
@pytest.mark.parametrize("path", ["eat", "map", "wrapped"])
def test_a_handler_that_needs_more_memory_names_the_limit(tmp_path: Path, path: str) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", EATING % "...", toml=MEMORY), "probe")
            answer = await here.http.get(f"/api/probe/v1/{path}")
            assert answer.status_code == 500
            assert "[limits] memory_mib = 16 of microservice.toml" in answer.json()["detail"]

    asyncio.run(run())
