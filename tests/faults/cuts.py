"""Records a broker on a simulated disk, then starts it from the state that each moment could leave.

Broker, journal and clients run in one process. At every operation on the disk the recorder keeps
what a power cut (or a kill) could leave then, and how long the history was. The state of the disk
follows from the clients' earlier actions, and those are noted first: so the history up to there,
and the disk, belong to one moment. From each such moment a new broker starts, the clients come back
as they were, and the checker looks at the whole.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from broker import AllowAll, Broker, Listener
from broker.journal import Durability, Journal, JournalLimits
from tests.faults.checker import describe
from tests.faults.events import Got, History, Started
from tests.faults.receiver import Finding
from tests.faults.stage import PATIENCE_S, Stage
from tests.integration.broker.journal.simdisk import SimDisk, Snapshot

HERE = Path("journal")  # on the simulated disk
SEGMENT_BYTES = 32 * 1024
AT_ONCE = 16  # moments that are tried at a time
STEP_S = 0.002
LINES_SHOWN = 60  # of one broken trial
Loss = Literal["power", "process"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of a recorded run."""

    operation: int
    at: float
    length: int  # of the history
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome of a start from one moment: broken before, by the cut, or after it."""

    moment: Moment
    findings: list[Finding]
    due_wills: int
    events: History  # since the cut

    def describe(self) -> str:
        """Return what was broken, and what became of the connections concerned since the cut."""
        names = {finding.text.partition(" ")[0] for finding in self.findings}
        lines = [f"operation {self.moment.operation}, event {self.moment.length}:"]
        lines.append(describe(self.findings))
        for event in self.events:
            name = getattr(event, "client", "")
            if isinstance(event, Started) or (name in names and not isinstance(event, Got)):
                lines.append(f"  {event}")
        return "\n".join(lines[:LINES_SHOWN])


class Recording:
    """A run on the simulated disk; it may begin where a power cut has ended another one."""

    def __init__(
        self,
        seed: int,
        loss: Loss = "power",
        durability: Durability = "synced",
        *,
        after: tuple["Recording", Moment] | None = None,
    ) -> None:
        self._chance = random.Random(seed)
        self._cutting = random.Random(seed)
        self._loss = loss
        self._durability = durability
        self.moments: list[Moment] = []
        self.disk = SimDisk()
        self._stage = Stage(self._chance)
        if after is not None:
            other, moment = after
            self.disk = SimDisk.of(moment.snapshot)
            self._stage = Stage(self._chance, other.history[: moment.length], moment.at)
        self.history: History = self._stage.history

    async def go(self, steps: int, *, step_s: float = STEP_S, wills_at: int | None = None) -> None:
        """Let the clients do so many steps; who leaves a will may vanish for good at one."""
        stage, chance = self._stage, self._cutting

        def cut() -> None:  # called in the journal's thread: what it sees must be noted already
            length, now = len(self.history), time.monotonic()
            left = self.disk.cut(chance) if self._loss == "power" else self.disk.kill()
            self.moments.append(Moment(self.disk.operations, now, length, left))

        with tempfile.TemporaryDirectory() as folder:
            self.disk.on_operation = cut
            broker, address = await start_broker(self.disk, Path(folder), self._durability)
            stage.started(address)
            for number in range(steps):
                if number % 40 == 0:
                    stage.fleet.dial()
                if number == wills_at:
                    stage.fleet.vanish()
                stage.fleet.step(most=2)
                await asyncio.sleep(step_s)
            self.disk.on_operation = lambda: None
            stage.sockets.end_all()
            await broker.stop()


async def come_back(moment: Moment, past: History, *, with_wills: bool, patience_s: float) -> Trial:
    """Start from one moment, and let the clients come back."""
    stage = Stage(random.Random(moment.operation), past[: moment.length], moment.at)
    stage.patience_s = patience_s
    with tempfile.TemporaryDirectory() as folder:
        broker, address = await start_broker(SimDisk.of(moment.snapshot), Path(folder))
        stage.started(address)
        if with_wills:
            stage.fleet.vanish()
        stage.fleet.dial(everybody=True)
        if with_wills:
            await stage.wait(stage.checker.last_will_due() - time.monotonic())
        for _ in range(3):
            stage.fleet.step(most=2)
            await asyncio.sleep(STEP_S)
        await stage.drain(quiet_s=0.0)
        stage.sockets.end_all()
        await broker.stop()
    events = stage.history[moment.length :]
    return Trial(moment, stage.findings(), stage.due_wills, events)


async def come_back_from_all(
    recording: Recording,
    moments: list[Moment],
    *,
    with_wills: bool = False,
    patience_s: float = PATIENCE_S,
    progress: Callable[[], None] = lambda: None,
) -> list[Trial]:
    """Try many moments."""
    trials: list[Trial] = []
    waiting = list(reversed(moments))

    async def work() -> None:
        while waiting:
            moment = waiting.pop()
            past = recording.history
            trial = await come_back(moment, past, with_wills=with_wills, patience_s=patience_s)
            trials.append(trial)
            progress()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    return trials


async def start_broker(
    disk: SimDisk, folder: Path, durability: Durability = "synced"
) -> tuple[Broker, Path]:
    """Start a broker with its journal on a simulated disk, at a Unix socket."""
    limits = JournalLimits(segment_bytes=SEGMENT_BYTES, interval_s=0.0, lazy_s=0.01)
    journal = Journal(HERE, durability, disk=disk, limits=limits)
    address = folder / "broker"
    broker = Broker([Listener(path=address)], AllowAll(), AllowAll(), store=journal)
    await broker.start()
    return broker, address
