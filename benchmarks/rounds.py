"""Runs every scenario against every broker, in turn, and collects the outcomes."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from benchmarks.brokers import OURS, ROOT, BenchBroker, run_broker
from benchmarks.errors import BenchmarkError, PeerError, UnableError
from benchmarks.generator import Rig
from benchmarks.machine import Cores, read_cpu, read_memory
from benchmarks.measure import Failure, Outcome, Timing
from benchmarks.rivals import make_mirror
from benchmarks.scenarios import Scenario, Size

MIB = 2**20
ALWAYS = (OURS, "mosquitto")  # the ratio of these two is what most targets are about
REASON_LENGTH = 200
RUN_LIMIT_S = 120.0  # of one run, start and end of the broker included; the loads have their own

OnRun = Callable[[str, str, Outcome | None], None]


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """Lists the scenarios, brokers and rounds to run."""

    scenarios: Sequence[Scenario]
    brokers: Sequence[BenchBroker]
    rounds: int
    timing: Timing
    size: Size
    cores: Cores
    budget_s: float = 1_200.0  # for all scenarios: the first round of each is run whatever it takes

    @property
    def run_count(self) -> int:
        """Return how many single runs that is at most."""
        ceilings = sum(scenario.has_ceiling for scenario in self.scenarios)
        return ceilings + len(self.scenarios) * len(self.brokers) * self.rounds


@dataclass(slots=True)
class Results:
    """Outcomes by scenario and broker, one for each round; ceilings by scenario."""

    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    ceilings: dict[str, Outcome] = field(default_factory=dict)


def run_plan(plan: RoundPlan, on_run: OnRun) -> Results:
    """Run it all, brokers taking turns; `on_run` hears of each run's start and outcome.

    Each scenario gets an equal part of what is left of the budget. Where that is not enough for
    all rounds of all brokers, the slowest rivals have one round.
    """
    results = Results()
    deadline = time.monotonic() + plan.budget_s
    for done, scenario in enumerate(plan.scenarios):
        now = time.monotonic()
        share_s = (deadline - now) / (len(plan.scenarios) - done)
        if scenario.has_ceiling:
            results.ceilings[scenario.name] = _run_once(plan, scenario, make_mirror(), on_run)
        took_s = _run_round(plan, scenario, plan.brokers, results, on_run)
        left_s = share_s - (time.monotonic() - now)
        brokers = _choose_further(plan, scenario, results, took_s, left_s)
        for _ in range(plan.rounds - 1):
            _run_round(plan, scenario, brokers, results, on_run)
    return results


def choose_repeated(took_s: Mapping[str, float], left_s: float, rounds: int) -> list[str]:
    """Return brokers to run again: always the ALWAYS, and the quickest others while time lasts."""
    chosen: list[str] = []
    for name in sorted(took_s, key=lambda name: (name not in ALWAYS, took_s[name])):
        left_s -= took_s[name] * rounds
        if left_s < 0 and name not in ALWAYS:
            break
        chosen.append(name)
    return chosen


def _choose_further(
    plan: RoundPlan,
    scenario: Scenario,
    results: Results,
    took_s: Mapping[str, float],
    left_s: float,
) -> list[BenchBroker]:
    able = {
        name: seconds
        for name, seconds in took_s.items()
        if not _is_unable(results.outcomes[scenario.name, name][0])
    }
    chosen = choose_repeated(able, left_s, plan.rounds - 1)
    return [broker for broker in plan.brokers if broker.name in chosen]


def _is_unable(outcome: Outcome) -> bool:
    return isinstance(outcome, Failure) and outcome.is_unable


def _run_round(
    plan: RoundPlan,
    scenario: Scenario,
    brokers: Sequence[BenchBroker],
    results: Results,
    on_run: OnRun,
) -> dict[str, float]:
    """Run each broker once, and return how long each took."""
    took_s = {}
    for broker in brokers:
        started = time.monotonic()
        outcome = _run_once(plan, scenario, broker, on_run)
        results.outcomes.setdefault((scenario.name, broker.name), []).append(outcome)
        took_s[broker.name] = time.monotonic() - started
    return took_s


def _run_once(
    plan: RoundPlan,
    scenario: Scenario,
    broker: BenchBroker,
    on_run: OnRun,
) -> Outcome:
    on_run(scenario.name, broker.name, None)
    outcome: Outcome
    try:
        with _time_limit(RUN_LIMIT_S), run_broker(broker, plan.cores, scenario.mode) as running:
            rig = Rig(
                running.endpoint,
                plan.timing,
                read_cpu=partial(read_cpu, running.pid),
                read_memory=partial(read_memory, running.pid),
            )
            sample = scenario.run(rig, plan.size)
            outcome = replace(sample, memory_mib=read_memory(running.pid) / MIB)
    except UnableError as exc:
        outcome = Failure(_shorten(exc), is_unable=True)
    except (BenchmarkError, OSError) as exc:
        outcome = Failure(_shorten(exc))
    on_run(scenario.name, broker.name, outcome)
    return outcome


def _shorten(exc: Exception) -> str:
    """Return one line without this machine's folders, as it will stand in a document."""
    words = " ".join(str(exc).replace(f"{ROOT}/", "").split())
    return words if len(words) <= REASON_LENGTH else f"{words[:REASON_LENGTH]} ..."


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise PeerError in what runs within, when it takes longer."""

    def give_up(_number: int, _frame: object) -> None:
        raise PeerError(f"cannot wait longer: {seconds:.0f} s are over")

    before = signal.signal(signal.SIGALRM, give_up)
    others = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *others)
