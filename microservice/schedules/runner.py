"""Runs the handlers of schedules while the service is on."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from microservice.errors import DamagedStoreError, StoreError
from microservice.handling import HandlerLimits, ServiceCounters
from microservice.memory import explain_memory, is_out_of_memory
from microservice.schedules.rules import Cron, Missed, Rule
from microservice.schedules.timetable import Timetable

logger = logging.getLogger(__name__)

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class ScheduledHandler:
    """A handler and the times at which it runs."""

    name: str
    rule: Rule
    handler: Callable[[], Awaitable[None]]
    limit_s: float | None = None  # the limit of a run; None: as for other handlers

    @property
    def remembers(self) -> bool:
        """Return whether a later process must know when it ran."""
        return isinstance(self.rule, Cron) and self.rule.missed is Missed.ONCE


class RunMemory(Protocol):
    """Remembers the last runs of schedules across processes."""

    async def last_run(self, schedule: str) -> float | None:
        """Return the unix time of the last run of a schedule; None when it never ran."""

    async def set_last_run(self, schedule: str, at: float) -> None:
        """Note the unix time of the last run of a schedule."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks of a schedule."""

    wall: Clock = time.time
    mono: Clock = time.monotonic


class ScheduleRunner:
    """Starts each schedule when it is due, and never twice at once."""

    def __init__(
        self,
        schedules: Sequence[ScheduledHandler],
        memory: RunMemory,
        counters: ServiceCounters,
        limits: HandlerLimits,
        clocks: Clocks | None = None,
    ) -> None:
        self._schedules = {schedule.name: schedule for schedule in schedules}
        self._memory, self._counters, self._limits = memory, counters, limits
        self._clocks = clocks or Clocks()
        self._timetable = Timetable({each.name: each.rule for each in schedules})
        self._looping: asyncio.Task[None] | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Run schedules from now on; each begins anew."""
        if not self._schedules:
            return
        await self.begin()
        self._looping = asyncio.create_task(self._loop(), name="schedules")

    async def begin(self) -> None:
        """Set the times of all schedules; the caller runs launch_due() by itself."""
        wall, last_runs = self._clocks.wall(), {}
        for schedule in self._schedules.values():
            if not schedule.remembers:
                continue
            last = await self._recall(schedule.name)
            if last is None:  # a run that is missed before the first one is made up for, too
                await self._remember(schedule.name, wall)
            last_runs[schedule.name] = wall if last is None else last
        self._timetable.start(wall, self._clocks.mono(), last_runs)

    async def stop(self, limit_s: float) -> None:
        """Start nothing more; return when no run goes on, ending those that take too long."""
        if self._looping is not None:
            self._looping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looping
            self._looping = None
        running = list(self._running.values())
        if running:
            _, late = await asyncio.wait(running, timeout=limit_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def launch_due(self) -> list[asyncio.Task[None]]:
        """Start what is due now; return the runs."""
        due = self._timetable.take_due(self._clocks.wall(), self._clocks.mono())
        return [run for run in map(self._launch, due) if run is not None]

    def wait_s(self) -> float:
        """Return how long nothing can be due."""
        return self._timetable.wait_s(self._clocks.wall(), self._clocks.mono())

    async def _loop(self) -> None:
        while True:
            self.launch_due()
            await asyncio.sleep(self.wait_s())

    def _launch(self, name: str) -> asyncio.Task[None] | None:
        if name in self._running:
            logger.warning("schedule %s is due, but its last run goes on: left out", name)
            return None
        task = asyncio.create_task(self._run(self._schedules[name]), name=f"schedule {name}")
        self._running[name] = task
        task.add_done_callback(lambda _: self._running.pop(name, None))
        return task

    async def _run(self, schedule: ScheduledHandler) -> None:
        limit_s, began = schedule.limit_s or self._limits.handler_s, self._clocks.wall()
        try:
            async with asyncio.timeout(limit_s) as limit:
                await schedule.handler()
        except (Exception, SystemExit) as exc:  # sys.exit() ends no service
            self._counters.failed += 1
            if limit.expired():
                why = f"it took longer than {limit_s:g} s, and was ended"
                logger.error("schedule %s failed: %s", schedule.name, why)  # noqa: TRY400  # the place of the cancellation means nothing
            else:
                logger.exception("schedule %s failed", schedule.name)
            if is_out_of_memory(exc):
                logger.error("%s", explain_memory(self._limits.memory_mib, exc))  # noqa: TRY400  # the trace is above
        else:
            self._counters.handled += 1
        if schedule.remembers:  # not before: a run that a power cut ends happens again
            await self._remember(schedule.name, began)

    # A full disk stops no schedule: it costs what would have been made up for after a restart.

    async def _recall(self, name: str) -> float | None:
        try:
            return await self._memory.last_run(name)
        except DamagedStoreError:
            raise
        except StoreError as exc:
            logger.error("cannot tell when schedule %s ran last: %s", name, exc)  # noqa: TRY400  # the reason is all there is
            return None

    async def _remember(self, name: str, at: float) -> None:
        try:
            await self._memory.set_last_run(name, at)
        except StoreError as exc:  # one that is damaged ends the service by itself
            logger.error("cannot remember the run of schedule %s: %s", name, exc)  # noqa: TRY400  # the reason is all there is
