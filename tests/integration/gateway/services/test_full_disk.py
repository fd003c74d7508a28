"""A full disk refuses deployments and leaves what runs, and the catalogue, alone."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aio import until
from tests.file_systems import small_file_system
from tests.integration.gateway.services.world import World, world, write_service

MIB = 1024 * 1024
CODE = """
@service.get("/")
async def root(_): return {"env": dict(service.env)}

@service.post("/print")
async def talk(_): print("x" * 2000, flush=True)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "d"
    folder.mkdir()
    with small_file_system(folder, 24 * MIB):
        yield folder


def fill(disk: Path, keep: int = 0) -> Path:
    """Fill the disk but for some bytes."""
    path = disk / "filler"
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))
    with path.open("r+b") as file:
        file.truncate(max(0, path.stat().st_size - keep))
    return path


async def refused(here: World, source: Path, status: int = 507) -> None:
    posted = await here.create("probe", "probe-v1", {"V": "2"})
    uploaded = await here.upload(source)
    changed = await here.http.put("/mcm/v1/containers/api-probe", json={"env": {"V": "3"}})
    for answer in (posted, uploaded, changed):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"


def test_deployments_are_refused_and_what_runs_goes_on(disk: Path, tmp_path: Path) -> None:
    source = write_service(tmp_path / "src", CODE)
    new = write_service(tmp_path / "new", f"{CODE}\n# new")

    async def run() -> None:
        async with world(disk) as here:
            await here.deploy(source, "probe")
            pid = here.pid("api-probe")
            filler = fill(disk, keep=4 * MIB)  # enough for files, not for a deployment
            await refused(here, new)
            assert "the disk is full" in (await here.create("probe", "probe-v1", {"V": "2"})).text
            fill(disk)
            await refused(here, new)
            for _ in range(20):  # its output is lost, and it does not wait for the disk
                assert (await here.http.post("/api/probe/v1/print")).is_success
            assert (await here.http.get("/api/probe/v1/")).json() == {"env": {}}
            assert here.pid("api-probe") == pid
            rows = (await here.http.get("/mcm/v1/containers/api-probe/versions")).json()["data"]
            assert [(row["version"], row["state"]) for row in rows] == [(1, "running")]
            filler.unlink()
            assert (await here.create("probe", "probe-v1", {"V": "2"})).status_code == 200
            assert (await here.http.get("/api/probe/v1/")).json() == {"env": {"V": "2"}}
            assert (await here.upload(new)).status_code == 201
            await until(lambda: "bytes of output were not written" in here.log("api-probe"))

    asyncio.run(run())
    with contextlib.closing(sqlite3.connect(disk / "state/catalogue.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_gateway_starts_its_containers_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    source = write_service(tmp_path / "src", CODE)

    async def run() -> None:
        async with world(disk) as here:
            await here.deploy(source, "probe")
            assert (await here.create("probe", "probe-v1", {"V": "2"})).status_code == 200
            fill(disk)
            await here.restart_host()
            await until(lambda: here.is_running("api-probe"))
            assert (await here.http.get("/api/probe/v1/")).json() == {"env": {"V": "2"}}

    asyncio.run(run())
