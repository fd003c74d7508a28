"""Changes that meet a gateway that starts, a container that goes, a version that crashed."""

import asyncio
from pathlib import Path

import pytest

from gateway.services.containers import ContainerState
from tests.aio import until
from tests.programs import PATIENCE
from tests.unit.gateway.services.test_deployments import Bench, run, run_until_cut, versions

TWO = ("one", "two")


def deploy_two(folder: Path) -> None:
    async def scenario(bench: Bench) -> None:
        for name in TWO:
            await bench.upload(name=name)
            await bench.deploy(name, f"{name}-v1")

    run_until_cut(folder, scenario)


def test_all_containers_have_their_paths_before_the_first_one_starts(tmp_path: Path) -> None:
    deploy_two(tmp_path)

    async def scenario() -> None:
        bench = Bench(tmp_path)
        seen: list[list[str]] = []
        start = bench.runtime.start

        async def look(*given):  # type: ignore[no-untyped-def]  # as start() has it
            seen.append([bench.path(f"/api/{name}/v1") for name in TWO])
            return await start(*given)

        bench.runtime.start = look  # type: ignore[method-assign]
        await bench.deployments.resume()
        await until(lambda: len(seen) == len(TWO))
        assert seen == [["api-one", "api-two"]] * 2
        await bench.deployments.stop()

    asyncio.run(asyncio.wait_for(scenario(), 20 * PATIENCE))


def test_a_deployment_waits_for_the_containers_that_are_still_read(tmp_path: Path) -> None:
    deploy_two(tmp_path)

    async def scenario() -> None:
        bench = Bench(tmp_path)
        deploying = asyncio.create_task(bench.deploy("two", "two-v1", A="1"))
        await asyncio.sleep(0)
        await bench.deployments.resume()
        await deploying
        await until(lambda: bench.state("api-two") is ContainerState.STARTED)
        assert set(versions(bench, "api-two")) == {1, 2}  # the one that was there, changed
        live = [p for p in bench.runtime.processes if p.start.info.container_id == "api-two"]
        stopped = [p for p in live if f"stop {p.number}" in bench.runtime.events]
        assert len(live) - len(stopped) <= 1
        await bench.deployments.stop()

    asyncio.run(asyncio.wait_for(scenario(), 20 * PATIENCE))


def test_a_gateway_that_stops_while_it_starts_drops_what_waits(tmp_path: Path) -> None:
    deploy_two(tmp_path)

    async def scenario() -> None:
        bench = Bench(tmp_path)
        deploying = asyncio.create_task(bench.deploy("two", "two-v1", A="1"))
        await asyncio.sleep(0)
        await bench.deployments.stop()
        with pytest.raises(asyncio.CancelledError):
            await deploying

    asyncio.run(asyncio.wait_for(scenario(), 20 * PATIENCE))


def test_a_change_that_is_being_written_brings_no_deleted_container_back(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one")
        table = bench.deployments.table
        deleting = asyncio.create_task(table.remove("api-one"))
        await asyncio.sleep(0)
        await table.write("api-one", stopped=True)
        await deleting
        assert table.get("api-one") is None
        await bench.deploy("one")
        assert bench.path("/api/probe/v1") == "api-one"
        assert bench.state("api-one") is ContainerState.STARTED

    run(tmp_path, scenario)


def test_a_former_version_has_its_path_while_it_starts(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        await bench.deploy("one", MCM__BASE_API_PATH="/first/v1")
        await until(lambda: bool(bench.deployments.table.known("api", "api-one").history.running))
        await bench.deploy("one", MCM__BASE_API_PATH="/second/v1")
        assert bench.path("/api/second/v1") == "api-one"
        bench.runtime.hangs.add("prepared 2")
        bench.runtime.processes[1].end("a crash")
        await until(lambda: "prepared 2" in bench.runtime.events)
        assert bench.path("/api/first/v1") == "api-one"
        bench.runtime.hangs.clear()

    run(tmp_path, scenario)


def test_a_deployment_beside_a_deletion_leaves_all_usable(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.upload()
        for i in range(20):
            await bench.deploy("one", N=str(i))
            deleting = asyncio.create_task(bench.deployments.delete_container("api", "api-one"))
            for _ in range(i):
                await asyncio.sleep(0)
            deploying = asyncio.create_task(bench.deploy("one", N=f"x{i}"))
            await deleting
            (result,) = await asyncio.gather(deploying, return_exceptions=True)
            assert result is None or "deleted meanwhile" in str(result)
        await bench.deploy("one")
        assert bench.path("/api/probe/v1") == "api-one"

    run(tmp_path, scenario)
