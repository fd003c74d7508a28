"""A full disk: refused with a reason, nothing acknowledged lost, on again when there is room."""

import asyncio
import random
from pathlib import Path
from typing import TYPE_CHECKING

from broker.reasons import Reason
from tests.faults.checker import describe
from tests.faults.cuts import start_broker
from tests.faults.full_disk import Filling, Ground, Outcome
from tests.faults.subjects import Hecate
from tests.file_systems import small_file_system
from tests.integration.broker_journal.simdisk import SimDisk, Snapshot

if TYPE_CHECKING:
    from broker import Broker

ROOM = 16 * 1024 * 1024  # of a file system, for segments of 4 MiB
SIM_ROOM = 1024 * 1024
MOST = 3_500  # messages of 6,000 bytes: more than fit


class Simulated:
    """The broker in this process, on a disk that is small and forgets at a power cut."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._snapshot: Snapshot = {}
        self._disk = SimDisk()
        self._broker: Broker | None = None

    async def start(self) -> Path:
        self._disk = SimDisk.of(self._snapshot)
        self._disk.room = SIM_ROOM
        self._broker, address = await start_broker(self._disk, self._folder)
        return address

    async def kill(self) -> None:
        assert self._broker is not None
        self._snapshot = self._disk.cut(random.Random(1))
        await self._broker.stop()


class Mounted:
    """`hecate broker` on a small file system."""

    def __init__(self, folder: Path) -> None:
        self._subject = Hecate(folder)

    async def start(self) -> int:
        return await asyncio.to_thread(self._subject.start)

    async def kill(self) -> None:
        await asyncio.to_thread(self._subject.kill)

    def stop(self) -> None:
        self._subject.stop()
        assert not self._subject.troubles, self._subject.troubles


def check(outcome: Outcome, least: int) -> None:
    assert not outcome.findings, describe(outcome.findings)
    assert outcome.reasons == {Reason.QUOTA_EXCEEDED}
    assert outcome.refused
    assert outcome.accepted >= least, "most of the room is used"
    assert outcome.accepted_later


def test_a_full_simulated_disk(tmp_path: Path) -> None:
    async def run() -> Outcome:
        ground = Simulated(tmp_path)
        as_port: Ground = ground
        outcome = await Filling(as_port).go(MOST)
        await ground.kill()
        return outcome

    check(asyncio.run(run()), least=80)


def test_a_full_file_system(tmp_path: Path) -> None:
    with small_file_system(tmp_path, ROOM):
        ground = Mounted(tmp_path)
        try:
            outcome = asyncio.run(Filling(ground).go(MOST))
        finally:
            ground.stop()
    check(outcome, least=1_000)
