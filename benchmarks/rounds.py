"""Runs every scenario against every broker, in turns, and keeps what came out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from benchmarks.brokers import Broker, make_mirror, run_broker
from benchmarks.errors import BenchmarkError
from benchmarks.generator import Rig
from benchmarks.machine import Cores, read_cpu, read_memory
from benchmarks.measure import Failure, Outcome, Timing
from benchmarks.scenarios import Scenario, Size

MIB = 2**20

OnRun = Callable[[str, str, Outcome | None], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run."""

    scenarios: Sequence[Scenario]
    brokers: Sequence[Broker]
    rounds: int
    timing: Timing
    size: Size
    cores: Cores
    scenario_s: float = 130.0  # after that a scenario gets no further round

    @property
    def run_count(self) -> int:
        """Return how many single runs that is."""
        ceilings = sum(scenario.has_ceiling for scenario in self.scenarios)
        return ceilings + len(self.scenarios) * len(self.brokers) * self.rounds


@dataclass(slots=True)
class Results:
    """Outcomes by scenario and broker, one for each round; ceilings by scenario."""

    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    ceilings: dict[str, Outcome] = field(default_factory=dict)


def run_plan(plan: Plan, on_run: OnRun) -> Results:
    """Run it all, brokers alternating; `on_run` hears of each run's start and outcome.

    The first round of each scenario is always whole; then rounds go on while there is time.
    """
    results = Results()
    for scenario in plan.scenarios:
        deadline = time.monotonic() + plan.scenario_s
        if scenario.has_ceiling:
            results.ceilings[scenario.name] = _run_once(plan, scenario, make_mirror(), on_run)
        for _ in range(plan.rounds):
            for broker in plan.brokers:
                outcome = _run_once(plan, scenario, broker, on_run)
                results.outcomes.setdefault((scenario.name, broker.name), []).append(outcome)
            if time.monotonic() >= deadline:
                break
    return results


def _run_once(
    plan: Plan,
    scenario: Scenario,
    broker: Broker,
    on_run: OnRun,
) -> Outcome:
    on_run(scenario.name, broker.name, None)
    outcome: Outcome
    try:
        with run_broker(broker, plan.cores) as running:
            rig = Rig(
                running.port,
                plan.timing,
                read_cpu=partial(read_cpu, running.pid),
                read_memory=partial(read_memory, running.pid),
            )
            sample = scenario.run(rig, plan.size)
            outcome = replace(sample, memory_mib=read_memory(running.pid) / MIB)
    except (BenchmarkError, OSError) as exc:
        outcome = Failure(str(exc))
    on_run(scenario.name, broker.name, outcome)
    return outcome
