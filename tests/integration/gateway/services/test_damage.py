"""Damage of one container stops only this one, and is named; the others run."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.aio import until
from tests.integration.gateway.services.world import World, world, write_service

CODE = """
@service.get("/")
async def root(_): return {"seen": await service.state.get("seen")}

@service.post("/")
async def keep(_): await service.state.set("seen", "yes")
"""


def empty_store(folder: Path) -> None:
    store = folder / "containers/api-bad/data/store.db"
    assert store.stat().st_size
    store.write_bytes(b"")


def replace_folder(folder: Path) -> None:
    shutil.rmtree(folder / "containers/api-bad")
    (folder / "containers/api-bad").write_bytes(b"no folder")


def remove_code(folder: Path) -> None:
    with sqlite3.connect(folder / "catalogue.db") as database:
        query = "SELECT digest FROM container WHERE name = 'bad'"
        (digest,) = database.execute(query).fetchone()
    database.close()
    shutil.rmtree(folder / "contents" / digest.removeprefix("sha256:"))


def damage_row(folder: Path) -> None:
    with sqlite3.connect(folder / "catalogue.db") as database:
        database.execute("UPDATE container SET filters = '?', env = 7 WHERE name = 'bad'")
        database.execute("DELETE FROM version WHERE container_id = 'api-bad'")
    database.close()


# case S15
@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (empty_store, "store"),
        (replace_folder, "Not a directory"),
        (remove_code, "cannot read microservice.toml"),
        (damage_row, "its row in the catalogue is damaged"),
    ],
)
def test_a_damaged_container_is_named_and_the_others_run(
    tmp_path: Path, damage: Callable[[Path], None], why: str
) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            for name in ("bad", "good"):
                await here.deploy(write_service(tmp_path / name, CODE, name=name), name)
                assert (await here.http.post(f"/api/{name}/v1/")).is_success
        damage(tmp_path / "state")
        async with world(tmp_path) as here:
            await until(lambda: here.is_running("api-good"))
            assert (await here.http.get("/api/good/v1/")).json() == {"seen": "yes"}
            await until(lambda: why in error_of(here, "api-bad"), f"its error names {why}")
            assert here.state("api-bad") == "failed"
            assert (await here.http.get("/api/bad/v1/")).status_code in (404, 503)
            assert (await here.http.delete("/mcm/v1/containers/api-bad")).is_success
            await here.deploy(tmp_path / "bad", "bad")
            assert (await here.http.get("/api/bad/v1/")).json() == {"seen": None}

    asyncio.run(run())


def error_of(here: World, container_id: str) -> str:
    return next((c.error for c in here.host.containers() if c.id == container_id), "")
