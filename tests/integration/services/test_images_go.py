"""Images: what goes by itself, what stays, and uploads at the same time."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from tests.integration.services.world import World, world, write_service

GOOD = '\n@service.get("/")\nasync def root(_): return {"version": VERSION}\n'


def write_version(directory: Path, version: int, name: str = "probe") -> Path:
    write_service(directory, f"VERSION = {version}\n{GOOD}", name=name)
    manifest = directory / "microservice.toml"
    manifest.write_text(f'version = "{version}"\n{manifest.read_text()}')
    return directory


async def names(here: World) -> set[str]:
    data = (await here.http.get("/mcm/v1/images")).json()["data"]
    return {image["name"] for image in data}


# case G13
def test_old_versions_go_but_those_that_run_and_three_to_go_back_to(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_version(tmp_path / "src", 1), "probe")
            for version in range(2, 9):
                uploaded = await here.upload(write_version(tmp_path / "src", version))
                assert uploaded.status_code == 201
            assert await names(here) == {"probe-v1", "probe-v6", "probe-v7", "probe-v8"}
            assert len(list((tmp_path / "state/contents").iterdir())) == 4
            assert (await here.http.get("/api/probe/v1/")).json() == {"version": 1}
            assert (await here.create("probe", "probe-v6")).status_code == 200
            assert (await here.http.get("/api/probe/v1/")).json() == {"version": 6}

    asyncio.run(run())


# case G13
def test_there_is_always_room_for_one_more_image(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, images=4) as here:
            await here.deploy(write_version(tmp_path / "src", 1, "used"), "used")
            for number in range(6):
                source = write_version(tmp_path / "src", 1, f"other{number}")
                assert (await here.upload(source)).status_code == 201
            assert await names(here) == {"used-v1", "other3-v1", "other4-v1", "other5-v1"}

    asyncio.run(run())


# case G13
def test_one_image_may_be_uploaded_twice_at_the_same_time(tmp_path: Path) -> None:
    source = write_version(tmp_path / "src", 1)
    (source / "data.bin").write_bytes(os.urandom(2_000_000))

    async def run() -> None:
        async with world(tmp_path) as here:
            answers = await asyncio.gather(*(here.upload(source) for _ in range(6)))
            assert [a.status_code for a in answers] == [201] * 6, [a.text for a in answers]
            assert (await here.create("probe", "probe-v1")).status_code == 201
            assert len(list((tmp_path / "state/contents").iterdir())) == 1
            both = await asyncio.gather(here.upload(source), here.create("other", "probe-v1"))
            assert both[0].status_code == 201

    asyncio.run(run())


# case G13
def test_the_loop_goes_on_while_an_image_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disk work is in other threads: sync calls block the thread, and time is not judged."""
    source = write_version(tmp_path / "src", 1)
    for number in range(200):
        (source / f"{number}.txt").write_text("x")
    threads: set[str] = set()
    real = os.fsync

    def watched(descriptor: int) -> None:
        threads.add(threading.current_thread().name)
        real(descriptor)

    async def run() -> None:
        async with world(tmp_path) as here:
            monkeypatch.setattr(os, "fsync", watched)
            assert (await here.upload(source)).status_code == 201
            assert threads
            assert "MainThread" not in threads

    asyncio.run(run())


def test_an_image_is_removed_by_its_name_unless_it_is_used(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_version(tmp_path / "src", 1), "probe")
            refused = await here.http.delete("/mcm/v1/images/api-probe-v1")
            assert refused.status_code == 409
            assert (await here.http.delete("/mcm/v1/containers/api-probe")).is_success
            assert (await here.http.delete("/mcm/v1/images/api-probe-v1")).is_success
            assert list((tmp_path / "state/contents").iterdir()) == []

    asyncio.run(run())
