"""A disk or a broker that hangs is noticed, with one thread and without a wait of the loop."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from broker import AllowAll, Broker
from gateway.cluster.fitness import BrokerProbe, DiskProbe, FitnessPorts, FitnessWatch
from tests.aio import until


def probe_threads() -> int:
    return sum(thread.name == "disk probe" for thread in threading.enumerate())


# case N7
def test_a_disk_that_hangs_is_noticed_and_keeps_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(_descriptor: int) -> None:
        released.wait(30)

    async def run() -> None:
        seen: list[bool] = []
        probe = DiskProbe(tmp_path / "fitness")
        assert await probe()
        monkeypatch.setattr(os, "fdatasync", hang)
        watch = FitnessWatch({"the disk": probe}, FitnessPorts(lambda: 0.01, seen.append), 0.02)
        running = asyncio.create_task(watch.run())
        await until(lambda: len(seen) >= 5)
        assert seen == [False] * len(seen)
        assert "the disk" in watch.faults
        assert probe_threads() == 1
        released.set()
        await until(lambda: seen[-1] and not watch.faults)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_a_full_disk_is_no_fit_disk(tmp_path: Path) -> None:
    assert asyncio.run(_ask(DiskProbe(tmp_path / "missing" / "fitness"))) is False


async def _ask(probe: DiskProbe) -> bool:
    return await probe()


# case N7
def test_a_broker_that_delivers_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        policy = AllowAll()
        async with Broker([], policy, policy, sys_interval_s=0) as broker:
            probe = BrokerProbe(broker)
            assert await probe()
            seen: list[bool] = []
            watch = FitnessWatch({"b": probe}, FitnessPorts(lambda: 0.01, seen.append), 0.02)
            monkeypatch.setattr(probe._local, "publish", lambda *_, **__: None)
            running = asyncio.create_task(watch.run())
            await until(lambda: len(seen) >= 2)
            assert seen == [False] * len(seen)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_nobody_is_probed_while_nobody_depends_on_the_node(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "fitness"
        ports = FitnessPorts(lambda: None, lambda _: None)
        running = asyncio.create_task(FitnessWatch({"the disk": DiskProbe(path)}, ports).run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not path.exists()

    asyncio.run(run())
