"""Images and containers through a fake runtime: what is deployed, and what a failure leaves."""

import asyncio
import contextlib
import io
import shutil
import sqlite3
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
    StorageError,
)
from gateway.services.images import catalogue
from gateway.services.images.catalogue import Catalogue, StoredImage
from gateway.services.images.pack import pack_image
from gateway.services.limits import ServiceLimits
from gateway.services.supervisor import NodeInfo
from tests.aio import until
from tests.programs import PATIENCE
from tests.unit.gateway.services.fake_runtime import LIMITS, FakeRuntime, make_context

NODE = NodeInfo("0" * 56, lambda: "account")


class Bench:
    """Deployments on a folder, which another bench may open again."""

    def __init__(self, folder: Path, limits: ServiceLimits = LIMITS) -> None:
        self.runtime = FakeRuntime()
        self.deleted: list[str] = []
        self._folder = folder
        context = make_context(self.runtime, folder, self.deleted.append, limits)
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

    async def cut(self) -> None:
        """Write nothing more; the thread and the file of the process that is gone are closed."""
        await self.deployments._disk.run(self.deployments._catalogue.close)
        self.deployments._disk.close()

    def state(self, container_id: str) -> ContainerState:
        return self.deployments.table.known("api", container_id).supervisor.state

    def digest(self, container_id: str) -> str:
        return self.deployments.table.known("api", container_id).supervisor.version.digest

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

    asyncio.run(asyncio.wait_for(whole(), 20 * PATIENCE))


def run_until_cut(folder: Path, scenario: Callable[[Bench], Awaitable[None]]) -> None:
    """Run as run() does, and end without a stop, as a power cut would."""

    async def whole() -> None:
        bench = Bench(folder)
        await bench.deployments.resume()
        try:
            await scenario(bench)
        finally:
            await bench.cut()

    asyncio.run(asyncio.wait_for(whole(), 20 * PATIENCE))


def versions(bench: Bench, container_id: str = "api-one") -> dict[int, str]:
    history = bench.deployments.table.known("api", container_id).history
    return {version.number: version.state.value for version in history.all()}


def stored_versions(folder: Path) -> list[tuple[str, int]]:
    """Return what is on disk, which is what a power cut leaves."""
    with contextlib.closing(sqlite3.connect(folder / "state/catalogue.db")) as database:
        return database.execute("SELECT state, number FROM version").fetchall()


def contents(folder: Path) -> set[str]:
    return {path.name for path in (folder / "state/contents").iterdir()}


def test_a_deployment_is_running_reachable_and_recorded(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        image = await bench.upload()
        await bench.deploy("one", CITY="Delft")
        deployed = bench.deployments.table.known("api", "api-one")
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
        with pytest.raises(ConflictError, match="overlaps with /api/probe/v1 of api-"):
            await bench.deploy("two", MCM__BASE_API_PATH="/probe")
        with pytest.raises(ServicesError, match=r"cannot use MCM\.BASE_API_PATH"):
            await bench.deploy("two", MCM__BASE_API_PATH="/../x")
        await bench.deploy("two", MCM__BASE_API_PATH="/other")
        assert bench.path("/api/other/x") == "api-two"

    run(tmp_path, scenario)


@pytest.mark.parametrize("base", ["/", "//", "x/v1", "/a b"])
def test_a_path_that_cannot_be_one_is_refused(base: str, tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        with pytest.raises(ServicesError, match=r"cannot use MCM\.BASE_API_PATH: "):
            await bench.deploy("one", MCM__BASE_API_PATH=base)

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
            deployments.table.log_path("other", "api-one")
        assert not deployments.images("other")
        assert not deployments.table.all("other")

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
        assert len(contents(tmp_path)) == 4  # to go back to
        for code in ("five", "six", "seven"):
            await bench.upload(code)
        assert len(contents(tmp_path)) == LIMITS.versions
        await bench.deployments.delete_container("api", "api-one")
        await bench.deployments.delete_image("api", "api-probe-v1")
        assert contents(tmp_path) == set()

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


def test_a_roll_back_runs_the_version_before_or_the_one_that_is_named(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        digests = []
        for code in ("one", "two", "three"):
            digests.append((await bench.upload(code)).digest)
            await bench.deploy("one")
        roll_back = bench.deployments.roll_back
        for number, at in ((None, 1), (None, 0), (3, 2)):
            await roll_back("api", "api-one", number)
            assert bench.digest("api-one") == digests[at]
        assert versions(bench) == {1: "replaced", 2: "replaced", 3: "running"}
        await roll_back("api", "api-one", 1)
        with pytest.raises(ConflictError, match="no version before this one ran"):
            await roll_back("api", "api-one", None)
        with pytest.raises(NotFoundError, match="there are: 1, 2, 3"):
            await roll_back("api", "api-one", 9)
        await bench.deployments.restart_container("api", "api-one")
        assert bench.digest("api-one") == digests[0]  # a restart is no deployment

    run(tmp_path, scenario)


def test_a_version_whose_code_is_gone_cannot_be_gone_back_to(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.upload("one")
        await bench.deploy("one")
        await bench.upload("two")
        shutil.rmtree(tmp_path / "state/contents" / first.digest.removeprefix("sha256:"))
        with pytest.raises(ConflictError, match="the code of version 1 is gone"):
            await bench.deployments.roll_back("api", "api-one", None)
        assert bench.state("api-one") is ContainerState.STARTED

    run(tmp_path, scenario)


# case S18
def test_a_power_cut_leaves_the_last_good_version_and_starts_the_one_that_waits(
    tmp_path: Path,
) -> None:
    async def first(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one", V="1")
        bench.runtime.hangs.add("go 1")
        asyncio.ensure_future(bench.deploy("one", V="2"))  # noqa: RUF006  # the cut ends it
        await until(lambda: "go 1" in bench.runtime.events)
        asyncio.ensure_future(bench.deploy("one", V="3"))  # noqa: RUF006
        await until(lambda: ("queued", 3) in stored_versions(tmp_path))

    async def second(bench: Bench) -> None:
        started = bench.runtime.processes
        await until(lambda: len(started) == 2)
        assert [process.start.version.env for process in started] == [{"V": "1"}, {"V": "3"}]
        await until(lambda: versions(bench) == {1: "replaced", 2: "superseded", 3: "running"})
        assert bench.state("api-one") is ContainerState.STARTED

    run_until_cut(tmp_path, first)
    run(tmp_path, second)


def test_a_first_version_that_was_cut_off_is_tried_again(tmp_path: Path) -> None:
    async def first(bench: Bench) -> None:
        await bench.upload()
        bench.runtime.hangs.add("prepared 0")
        asyncio.ensure_future(bench.deploy("one"))  # noqa: RUF006  # the cut ends it
        await until(lambda: "prepared 0" in bench.runtime.events)

    async def second(bench: Bench) -> None:
        await until(lambda: versions(bench) == {1: "running"})

    run_until_cut(tmp_path, first)
    run(tmp_path, second)


# case S18
def test_a_version_that_fails_blocks_nothing_and_the_next_one_starts(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one", V="1")
        bench.runtime.failures["go 1"] = "it exited with status 1"
        both = await asyncio.gather(
            bench.deploy("one", V="2"), bench.deploy("one", V="3"), return_exceptions=True
        )
        assert isinstance(both[0], DeployError)
        assert both[1] is None
        assert versions(bench) == {1: "replaced", 2: "failed", 3: "running"}

    run(tmp_path, scenario)


def test_of_deployments_that_wait_the_last_one_wins(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one", V="0")
        burst = [bench.deploy("one", V=str(number)) for number in range(1, 30)]
        answers = await asyncio.gather(*burst, return_exceptions=True)
        assert answers[-1] is None
        assert all(isinstance(each, ConflictError) for each in answers[1:-1]), answers
        assert "version 30, which was deployed after it, superseded version" in str(answers[5])
        running = bench.deployments.table.known("api", "api-one").history.running
        assert running is not None
        assert running.env == {"V": "29"}
        assert len(bench.runtime.processes) <= 3
        assert len(versions(bench)) <= LIMITS.versions + 1

    run(tmp_path, scenario)


def test_a_crash_soon_after_a_deployment_goes_back_and_survives_a_restart(tmp_path: Path) -> None:
    async def first(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one", V="1")
        await bench.deploy("one", V="2")
        bench.runtime.processes[1].end("it exited with status 1")
        await until(lambda: versions(bench) == {1: "running", 2: "crashed"})
        await until(lambda: bench.state("api-one") is ContainerState.STARTED)
        deployed = bench.deployments.table.known("api", "api-one")
        assert deployed.stored.env == {"V": "1"}
        assert "version 2 ended soon after its start" in deployed.history.note

    async def second(bench: Bench) -> None:
        await until(lambda: bench.state("api-one") is ContainerState.STARTED)
        assert bench.runtime.processes[0].start.version.env == {"V": "1"}
        assert versions(bench) == {1: "running", 2: "crashed"}

    run_until_cut(tmp_path, first)
    run(tmp_path, second)


def test_a_deployment_goes_on_when_its_caller_hangs_up(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        calling = asyncio.ensure_future(bench.deploy("one"))
        await until(lambda: bench.runtime.processes)
        calling.cancel()
        await until(lambda: versions(bench) == {1: "running"})

    run(tmp_path, scenario)


def test_changes_of_a_stopped_container_wait_for_its_start(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one", V="1")
        await bench.deployments.stop_container("api", "api-one")
        await bench.deployments.change_container("api", "api-one", None, {"V": "2"})
        assert versions(bench) == {1: "running", 2: "queued"}
        assert bench.state("api-one") is ContainerState.STOPPED
        await bench.deployments.start_container("api", "api-one")
        assert bench.runtime.processes[-1].start.version.env == {"V": "2"}
        with pytest.raises(NotFoundError):
            await bench.deployments.change_container("api", "api-one", "other-v1", None)

    run(tmp_path, scenario)


# case S15
def test_damage_of_one_container_stops_no_other_and_is_told(tmp_path: Path) -> None:
    async def first(bench: Bench) -> None:
        whole = await bench.upload()
        await bench.upload("x", "gone")
        for name in ("whole", "row", "both"):
            await bench.deploy(name, MCM__BASE_API_PATH=f"/{name}")
        await bench.deploy("code", "gone-v1")
        assert whole.digest != bench.digest("api-code")

    async def second(bench: Bench) -> None:
        await until(lambda: bench.state("api-whole") is ContainerState.STARTED)
        await until(lambda: bench.state("api-row") is ContainerState.STARTED)
        for container_id, why in (
            ("api-both", "its row in the catalogue is damaged"),
            ("api-code", "cannot read microservice.toml"),
        ):
            broken = bench.deployments.table.known("api", container_id).supervisor
            assert broken.state is ContainerState.FAILED
            assert why in broken.error
        await bench.deploy("both", MCM__BASE_API_PATH="/both")
        await bench.upload("x", "gone")
        await bench.deploy("code", "gone-v1")

    async def third(bench: Bench) -> None:
        ids = [f"api-{name}" for name in ("whole", "row", "both", "code")]
        await until(lambda: all(bench.state(each) is ContainerState.STARTED for each in ids))

    run(tmp_path, first)
    with contextlib.closing(sqlite3.connect(tmp_path / "state/catalogue.db")) as database:
        database.execute("UPDATE container SET env = '{' WHERE name IN ('row', 'both')")
        database.execute("UPDATE version SET env = 7 WHERE container_id = 'api-both'")
        (digest,) = database.execute("SELECT digest FROM image WHERE name = 'gone-v1'").fetchone()
        database.commit()
    shutil.rmtree(tmp_path / "state/contents" / digest.removeprefix("sha256:"))
    run(tmp_path, second)
    run(tmp_path, third)


def test_a_full_disk_refuses_a_deployment_and_leaves_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one", V="1")
        monkeypatch.setattr(catalogue, "free_bytes", lambda _: 1024)
        with pytest.raises(StorageError, match=r"the disk is full: .* has 0\.0 MiB left"):
            await bench.deploy("one", V="2")
        with pytest.raises(StorageError):
            await bench.upload("two")
        with pytest.raises(StorageError):
            await bench.deployments.change_container("api", "api-one", None, {"V": "3"})
        assert versions(bench) == {1: "running"}
        await bench.deployments.restart_container("api", "api-one")

    run(tmp_path, scenario)
