"""Quotas of data folders: the verdict, the size, and what happens to the container."""

import asyncio
import ctypes
import mmap
import os
from pathlib import Path

import pytest

from gateway.services.containers import ContainerState
from gateway.services.deploying.store_quota import (
    ENTRY_BYTES,
    MIB,
    QuotaVerdict,
    StoreQuotas,
    folder_bytes,
    judge,
    used_bytes,
)
from gateway.services.limits import ServiceLimits
from tests.aio import until
from tests.programs import PATIENCE
from tests.unit.gateway.services.test_deployments import Bench


@pytest.mark.parametrize(
    ("size", "verdict"),
    [(0, QuotaVerdict.WITHIN), (89, QuotaVerdict.WITHIN), (90, QuotaVerdict.NEAR),
     (100, QuotaVerdict.NEAR), (101, QuotaVerdict.OVER)],
)  # fmt: skip
def test_the_verdict_depends_on_the_share_of_the_quota(size: int, verdict: QuotaVerdict) -> None:
    assert judge(size, 100) is verdict


def test_the_size_of_a_folder_is_what_it_takes_on_disk(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a").write_bytes(os.urandom(100_000))
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(10**9)
    (tmp_path / "link").symlink_to("/")
    assert 100_000 <= folder_bytes(tmp_path) < 200_000
    assert folder_bytes(tmp_path / "none") == 0


def test_empty_files_and_folders_count(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"file-{number}").touch()
        (tmp_path / f"folder-{number}").mkdir()
    assert folder_bytes(tmp_path) >= 200 * ENTRY_BYTES


def test_temporary_and_deleted_files_count(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    tmp_path = tmp_path / "link"
    for name in ("data", "tmp/1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "output.log").write_bytes(os.urandom(MIB))  # it has a bound of its own
    before = used_bytes(tmp_path)
    (tmp_path / "tmp/1/a").write_bytes(os.urandom(100_000))
    with_temporary = used_bytes(tmp_path)
    assert 100_000 <= with_temporary - before < 200_000
    with (tmp_path / "data/b").open("wb", buffering=0) as file, file:
        file.write(os.urandom(300_000))
        (tmp_path / "data/b").unlink()
        duplicate = os.dup(file.fileno())
        assert 300_000 <= used_bytes(tmp_path) - with_temporary < 400_000
        os.close(duplicate)
    assert used_bytes(tmp_path) == with_temporary


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel tells the size of a mapping to root")
def test_deleted_files_that_are_only_mapped_count_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/mapped file"
    path.write_bytes(os.urandom(400_000))
    before = used_bytes(tmp_path)
    library = ctypes.CDLL(None)  # the module mmap would keep a descriptor
    library.mmap.restype = ctypes.c_void_p
    with path.open("rb") as file:
        at = library.mmap(None, 400_000, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        path.unlink()
        assert before - ENTRY_BYTES <= used_bytes(tmp_path) <= before  # open and mapped
    assert before - ENTRY_BYTES <= used_bytes(tmp_path) <= before
    library.munmap(ctypes.c_void_p(at), 400_000)
    assert used_bytes(tmp_path) < 100_000


def test_a_container_is_told_in_its_log_and_then_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path)
        await bench.deployments.resume()
        await bench.upload()
        await bench.deploy("one")
        folder = tmp_path / "state/containers/api-one"
        (folder / "data").mkdir(parents=True)
        quotas = StoreQuotas(
            bench.deployments.table,
            ServiceLimits(store_bytes=MIB),
            lambda _: folder,
            lambda: 1_769_860_800.0,
        )
        await quotas.check_all()
        assert not (folder / "output.log").exists()
        (folder / "data/full").write_bytes(os.urandom(MIB * 95 // 100))
        for _ in range(3):
            await quotas.check_all()
        told = (folder / "output.log").read_text()
        assert told.count("\n") == 1
        assert "[hecate] its files take 1.0 MiB of 1 ([limits] store_mib)" in told
        (folder / "data/more").write_bytes(os.urandom(MIB))
        await quotas.check_all()
        supervisor = bench.deployments.table.known("api", "api-one").supervisor
        assert "its files take 2.0 MiB, more than [limits] store_mib = 1" in supervisor.error
        assert bench.runtime.events[-1].startswith("stop")
        await until(lambda: supervisor.state is ContainerState.STARTED)  # it may delete its files
        await bench.deployments.stop()

    asyncio.run(asyncio.wait_for(scenario(), 20 * PATIENCE))
