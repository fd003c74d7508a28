"""Containers that make folders which programs stumble over."""

import asyncio
from pathlib import Path

import pytest

from tests.aio import until
from tests.integration.gateway.services.world import world, write_service

LEVELS = 1100  # more than Python recurses
CODE = f"""
def nest(top):
    folder = os.open(top, os.O_RDONLY)
    for _ in range({LEVELS}):
        os.mkdir("d", dir_fd=folder)
        folder, outer = os.open("d", os.O_RDONLY, dir_fd=folder), folder
        os.close(outer)
    os.close(folder)
@service.post("/nest")
async def deep(_):
    if not os.path.exists("d"):
        nest(".")
    nest(os.environ["TMPDIR"])
@service.post("/exit")
async def leave(_): os._exit(3)
"""


@pytest.mark.slow
def test_folders_of_any_depth_stop_nobody_but_their_container(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE), "probe")
            folder = tmp_path / "state/containers/api-probe"
            first = here.pid("api-probe")
            assert (await here.http.post("/api/probe/v1/nest")).is_success
            await here.http.post("/api/probe/v1/exit")
            await until(lambda: here.is_running("api-probe") and here.pid("api-probe") != first)
            assert len(list((folder / "tmp").iterdir())) == 1  # the file of the new process
            assert (await here.http.post("/api/probe/v1/nest")).is_success
            await here.restart_host()
            await until(lambda: here.is_running("api-probe"))
            assert (await here.http.delete("/mcm/v1/containers/api-probe")).status_code == 200
            assert not folder.exists()

    asyncio.run(run())
