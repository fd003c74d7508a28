"""Kills a broker again and again under load, and checks the record of its clients."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.events import Got, Taken
from tests.faults.receiver import Finding
from tests.faults.stage import Stage
from tests.faults.subjects import Subject

STEP_S = 0.004
LIFE_S = (0.05, 0.9)  # of the broker, in a round
PER_ROUND = 900  # messages sent at most
BACKLOG = 600, 1_500  # call in who is away; send nothing: queues are bounded, disks may be slow
SECTOR_BYTES = 512  # of /sys/block/*/stat, whatever the device's own are
LAST_WILL_S = 1.5  # longer than the delay of any: one that must not come would have come


@dataclass(slots=True)
class Outcome:
    """The results of a run."""

    rounds: int = 0
    sent: int = 0
    acknowledged: int = 0
    received: int = 0
    seconds: float = 0.0
    written: int | None = None  # bytes the device counted, everybody's; None where it does not
    findings: list[Finding] = field(default_factory=list)


class Run:
    """One run; its stage is kept for whoever wants to look. Gentle: the broker may say good-bye."""

    def __init__(self, subject: Subject, seed: int, *, gentle: bool = False) -> None:
        self._subject = subject
        self._subject = subject
        self._end = subject.stop if gentle else subject.kill
        self._chance = random.Random(seed)
        self.stage = Stage(self._chance)

    async def go(self, rounds: int, progress: Callable[[int], None] = lambda _: None) -> Outcome:
        """Run the rounds and a last one without a kill."""
        began, stage = time.monotonic(), self.stage
        written = count_written(self._subject.folder)
        try:
            for number in range(rounds):
                await self._start()
                stage.fleet.dial(everybody=stage.backlog > BACKLOG[0])
                await self._live(self._chance.uniform(*LIFE_S))
                stage.killed()
                await asyncio.to_thread(self._end)
                await stage.silence()
                progress(number + 1)
            await self._start()
            stage.fleet.dial(everybody=True)
            await stage.wait(LAST_WILL_S)
            await stage.drain()
        finally:
            stage.sockets.end_all()
            await asyncio.to_thread(self._subject.stop)
        outcome = self._outcome(rounds, time.monotonic() - began)
        if written is not None:
            outcome.written = (count_written(self._subject.folder) or 0) - written
        return outcome

    async def _start(self) -> None:
        self.stage.started(await asyncio.to_thread(self._subject.start))

    async def _live(self, seconds: float) -> None:
        fleet, end = self.stage.fleet, time.monotonic() + seconds
        most = fleet.sent + PER_ROUND
        reading = asyncio.create_task(self.stage.read())
        while time.monotonic() < end:
            if fleet.sent < most and self.stage.backlog < BACKLOG[1]:
                fleet.step()
            else:
                fleet.answer()
            await asyncio.sleep(STEP_S)
        reading.cancel()

    def _outcome(self, rounds: int, seconds: float) -> Outcome:
        history = self.stage.history
        return Outcome(
            rounds,
            self.stage.fleet.sent,
            sum(type(event) is Taken and not event.refused for event in history),
            sum(type(event) is Got for event in history),
            seconds,
            findings=self.stage.findings(),
        )


def count_written(folder: Path) -> int | None:
    """Return how many bytes the folder's device was given since it is there."""
    device = folder.stat().st_dev
    path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    if not path.exists():  # of a file system in memory
        return None
    return int(path.read_text().split()[6]) * SECTOR_BYTES
