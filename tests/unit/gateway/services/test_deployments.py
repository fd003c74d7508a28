"""Images and containers through a fake runtime: what is deployed, and what a failure leaves."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.services.containers import ContainerState
from gateway.services.deployments import Deployments
from gateway.services.errors import (
    ConflictError,
    DeployError,
    ImageError,
    NotFoundError,
    ServicesError,
)
from gateway.services.images.catalogue import Catalogue, StoredImage
from gateway.services.images.pack import pack_image
from gateway.services.supervisor import NodeInfo
from tests.unit.gateway.services.fake_runtime import FakeRuntime, make_context, until

NODE = NodeInfo("0" * 56, lambda: "account")


class Bench:
    """Deployments on a folder, which another bench may open again."""

    def __init__(self, folder: Path) -> None:
        self.runtime = FakeRuntime()
        self.deleted: list[str] = []
        self._folder = folder
        context = make_context(self.runtime, folder, self.deleted.append)
        self.deployments = Deployments(Catalogue(folder / "state"), context, NODE)

    async def upload(self, code: str = "", name: str = "probe") -> StoredImage:
        folder = self._folder / f"source-{name}"
        folder.mkdir(exist_ok=True)
        (folder / "service.py").write_text(code)
        (folder / "microservice.toml").write_text(f'name = "{name}"\n[http]\nbase = "/{name}/v1"\n')
        return await self.deployments.put_image("api", io.BytesIO(pack_image(folder)), 1.0)

    async def deploy(self, name: str, image: str = "probe-v1", **env: str) -> None:
        given = {key.replace("__", "."): value for key, value in env.items()}
        await self.deployments.put_container("api", name, image, given, 1.0)

    def state(self, container_id: str) -> ContainerState:
        return self.deployments.known("api", container_id).supervisor.state

    def digest(self, container_id: str) -> str:
        return self.deployments.known("api", container_id).supervisor.version.digest

    def path(self, path: str) -> str:
        route = self.deployments.routes.find(path)
        return route.container_id if route else ""


def run(folder: Path, scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        bench = Bench(folder)
        await bench.deployments.resume()
        try:
            await scenario(bench)
        finally:
            await bench.deployments.stop()

    asyncio.run(asyncio.wait_for(whole(), 20))


def contents(folder: Path) -> set[str]:
    return {path.name for path in (folder / "state/contents").iterdir()}


def test_a_deployment_is_running_reachable_and_recorded(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        image = await bench.upload()
        await bench.deploy("one", CITY="Delft")
        deployed = bench.deployments.known("api", "api-one")
        assert bench.state("api-one") is ContainerState.STARTED
        assert bench.path("/api/probe/v1/rooms") == "api-one"
        assert (deployed.stored.digest, deployed.stored.env) == (image.digest, {"CITY": "Delft"})
        assert bench.runtime.take_events() == ["prepared 0", "go 0"]

    run(tmp_path, scenario)


def test_deploying_what_runs_changes_nothing_unless_it_answers_nothing(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one")
        await bench.deploy("one")
        assert len(bench.runtime.processes) == 1
        bench.runtime.processes[0].answers = False
        await bench.deploy("one")
        assert len(bench.runtime.processes) == 2

    run(tmp_path, scenario)


def test_a_new_image_reaches_all_containers_that_run(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload("one")
        await bench.deploy("a")
        await bench.deploy("b", MCM__BASE_API_PATH="/b")
        await bench.deploy("c", MCM__BASE_API_PATH="/c")
        await bench.deployments.stop_container("api", "api-c")
        image = await bench.upload("two")
        assert bench.digest("api-a") == bench.digest("api-b") == image.digest
        assert bench.state("api-c") is ContainerState.STOPPED
        assert bench.digest("api-c") != image.digest
        await bench.deployments.start_container("api", "api-c")
        assert bench.digest("api-c") == image.digest

    run(tmp_path, scenario)


def test_an_image_that_one_container_cannot_run_changes_none(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        before = await bench.upload("one")
        await bench.deploy("a")
        await bench.deploy("b", MCM__BASE_API_PATH="/b")
        bench.runtime.failures["go 3"] = "it fails"  # the second container with the new image
        with pytest.raises(DeployError, match="cannot start api-b: it fails"):
            await bench.upload("two")
        assert bench.digest("api-a") == bench.digest("api-b") == before.digest
        assert [image.digest for image in bench.deployments.images("api")] == [before.digest]

    run(tmp_path, scenario)


def test_a_new_container_that_does_not_start_is_kept_and_tried_again(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        bench.runtime.failures["go 0"] = "no broker yet"
        with pytest.raises(DeployError, match="no broker yet"):
            await bench.deploy("one")
        assert bench.state("api-one") is ContainerState.FAILED
        await until(lambda: bench.state("api-one") is ContainerState.STARTED)

    run(tmp_path, scenario)


def test_paths_do_not_overlap_and_a_failed_change_reserves_none(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one")
        with pytest.raises(ConflictError, match="overlaps with /api/probe/v1"):
            await bench.deploy("two", MCM__BASE_API_PATH="/probe")
        with pytest.raises(ServicesError, match=r"cannot use MCM\.BASE_API_PATH"):
            await bench.deploy("two", MCM__BASE_API_PATH="/../x")
        await bench.deploy("two", MCM__BASE_API_PATH="/other")
        assert bench.path("/api/other/x") == "api-two"

    run(tmp_path, scenario)


def test_clients_reach_their_own_only(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one")
        deployments = bench.deployments
        for call in (deployments.stop_container, deployments.delete_container):
            with pytest.raises(NotFoundError):
                await call("other", "api-one")
        with pytest.raises(NotFoundError):
            await deployments.put_container("other", "x", "probe-v1", {}, 1.0)
        with pytest.raises(NotFoundError):
            await deployments.delete_image("other", "api-probe-v1")
        with pytest.raises(NotFoundError):
            deployments.log_path("other", "api-one")
        assert not deployments.images("other")
        assert not deployments.containers("other")

    run(tmp_path, scenario)


def test_a_deleted_container_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one")
        with pytest.raises(ConflictError, match="api-one uses it"):
            await bench.deployments.delete_image("api", "api-probe-v1")
        await bench.deployments.delete_container("api", "api-one")
        assert bench.deleted == ["api-one"]
        assert bench.path("/api/probe/v1") == ""
        assert bench.runtime.events[-1] == "stop 0"
        await bench.deployments.delete_image("api", "api-probe-v1")
        assert contents(tmp_path) == set()

    run(tmp_path, scenario)


def test_a_restart_runs_what_ran_and_leaves_what_was_stopped(tmp_path: Path) -> None:
    async def first(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one")
        await bench.deploy("two", MCM__BASE_API_PATH="/two")
        await bench.deployments.stop_container("api", "api-two")

    async def second(bench: Bench) -> None:
        await until(lambda: bench.state("api-one") is ContainerState.STARTED)
        assert bench.state("api-two") is ContainerState.STOPPED
        assert len(bench.runtime.processes) == 1
        assert bench.path("/api/two") == "api-two"  # to say that it is stopped

    run(tmp_path, first)
    run(tmp_path, second)


def test_contents_go_when_nothing_needs_them(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload("one")
        await bench.deploy("one")
        for code in ("two", "three", "four"):
            await bench.upload(code)
        assert len(contents(tmp_path)) == 1  # every upload has this name, so the last one stays

    run(tmp_path, scenario)


def test_changes_of_one_container_wait_for_each_other_only(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        bench.runtime.hangs.add("go 0")
        slow = asyncio.ensure_future(bench.deploy("slow"))
        await until(lambda: "go 0" in bench.runtime.events)
        await bench.deploy("quick", MCM__BASE_API_PATH="/quick")
        assert bench.state("api-quick") is ContainerState.STARTED
        stopping = asyncio.ensure_future(bench.deployments.stop_container("api", "api-slow"))
        await asyncio.sleep(0.05)
        assert not stopping.done()
        with pytest.raises(DeployError):
            await slow
        await stopping
        assert bench.state("api-slow") is ContainerState.STOPPED

    run(tmp_path, scenario)


def test_bytes_that_are_no_image_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(ImageError):
            await bench.deployments.put_image("api", io.BytesIO(b"x" * 2000), 1.0)
        assert contents(tmp_path) == set()

    run(tmp_path, scenario)
