"""Schedules that run on an event loop, with clocks that the test sets."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from microservice.errors import FullStoreError
from microservice.handling import HandlerLimits, ServiceCounters
from microservice.schedules.rules import Rule, parse_cron, parse_interval
from microservice.schedules.runner import Clocks, ScheduledHandler, ScheduleRunner


class Memory:
    """Remembers runs as the state does."""

    def __init__(self, **runs: float) -> None:
        self.runs = dict(runs)

    async def last_run(self, schedule: str) -> float | None:
        return self.runs.get(schedule)

    async def set_last_run(self, schedule: str, at: float) -> None:
        self.runs[schedule] = at


class Bench:
    """A runner of one schedule."""

    def __init__(
        self, rule: Rule, handler: Callable[[], Awaitable[None]], limit_s: float = 30, **runs: float
    ) -> None:
        self.now = 1_800_000_000.0
        self.memory, self.counters = Memory(**runs), ServiceCounters()
        self.runner = ScheduleRunner(
            [ScheduledHandler("job", rule, handler)],
            self.memory,
            self.counters,
            HandlerLimits(limit_s, 128),
            Clocks(lambda: self.now, lambda: self.now),
        )

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.gather(*self.runner.launch_due())


def test_a_failing_run_is_counted_and_the_next_one_happens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        calls = []

        async def job() -> None:
            calls.append(1)
            if len(calls) == 1:
                raise ValueError("no sensor")

        bench = Bench(parse_interval(10), job)
        await bench.runner.begin()
        await bench.advance(10)
        await bench.advance(10)
        assert len(calls) == 2
        assert (bench.counters.handled, bench.counters.failed) == (1, 1)
        assert "schedule job failed" in caplog.text
        assert "no sensor" in caplog.text

    asyncio.run(run())


@pytest.mark.parametrize("cannot_read", [False, True])
def test_a_store_that_is_full_stops_no_schedule(
    cannot_read: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise FullStoreError("cannot note a run: the store is full")

    async def run() -> None:
        runs = []

        async def job() -> None:
            runs.append(1)

        bench = Bench(parse_cron("* * * * *", "UTC", "once"), job)
        monkeypatch.setattr(bench.memory, "set_last_run", fail)
        if cannot_read:
            monkeypatch.setattr(bench.memory, "last_run", fail)
        await bench.runner.begin()
        await bench.advance(60)
        await bench.advance(60)
        assert len(runs) == bench.counters.handled == 2
        assert "cannot remember the run of schedule job: cannot note a run" in caplog.text

    asyncio.run(run())


def test_a_run_that_takes_too_long_is_ended_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async def job() -> None:
            await asyncio.sleep(60)

        bench = Bench(parse_interval(10), job, limit_s=0.01)
        await bench.runner.begin()
        await bench.advance(10)
        assert bench.counters.failed == 1
        assert "schedule job failed: it took longer than 0.01 s, and was ended" in caplog.text

    asyncio.run(run())


def test_a_run_is_left_out_while_the_one_before_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        begun, go_on = [], asyncio.Event()

        async def job() -> None:
            begun.append(1)
            await go_on.wait()

        bench = Bench(parse_interval(10), job)
        await bench.runner.begin()
        bench.now += 10
        (first,) = bench.runner.launch_due()
        bench.now += 10
        assert bench.runner.launch_due() == []
        assert "its last run goes on: left out" in caplog.text
        go_on.set()
        await first
        await bench.advance(10)
        assert len(begun) == 2

    asyncio.run(run())


def test_a_last_run_is_remembered_when_it_ended_and_only_if_it_matters() -> None:
    async def run() -> None:
        seen: list[dict[str, float]] = []

        async def job() -> None:
            seen.append(dict(bench.memory.runs))

        bench = Bench(parse_cron("0 * * * *", "UTC", "once"), job)  # it is 08:00 UTC
        await bench.runner.begin()
        begun = bench.now
        assert bench.memory.runs == {"job": begun}, "a run missed before the first is made up for"
        await bench.advance(3600)
        assert seen == [{"job": begun}], "a run that a power cut ends happens again"
        assert bench.memory.runs == {"job": begun + 3600}

        bench = Bench(parse_cron("0 * * * *", "UTC", "skip"), job)
        await bench.runner.begin()
        await bench.advance(3600)
        assert bench.memory.runs == {}

    asyncio.run(run())


# case S6
def test_nothing_runs_after_stop_and_what_runs_is_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        ended: list[str] = []

        async def job() -> None:
            try:
                await asyncio.sleep(0.05 if not ended else 60)
                ended.append("whole")
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        bench = Bench(parse_interval(0.1), job)
        await bench.runner.start()
        bench.now += 0.1
        (running,) = bench.runner.launch_due()
        await bench.runner.stop(10)
        assert running.done()
        assert ended == ["whole"]
        await bench.runner.start()
        bench.now += 0.1
        (running,) = bench.runner.launch_due()
        await asyncio.sleep(0)
        await bench.runner.stop(0.01)
        assert ended == ["whole", "cancelled"]
        bench.now += 60
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert not any(name.startswith("schedule") for name in names)

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
