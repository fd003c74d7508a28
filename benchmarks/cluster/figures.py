"""Defines scenarios of clusters, their targets and their results; judges them. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.measure import Failure, Spread, spread

Samples = Mapping[str, Sequence[float]]  # by metric


class Judgement(StrEnum):
    """The value of a metric that has to be within its limit."""

    MEDIAN = "median"
    WORST = "worst"


@dataclass(frozen=True, slots=True)
class ClusterSize:
    """The number of rounds of each kind."""

    rounds: int = 30
    calls: int = 300
    members: int = 200
    member_rounds: int = 3  # of so many members; each takes half a minute
    window_s: float = 1.5  # of idle traffic


@dataclass(frozen=True, slots=True)
class ClusterTarget:
    """A bound for a metric."""

    metric: str
    limit: float
    judged: Judgement = Judgement.WORST

    def measured(self, found: Spread) -> float:
        """Return the value that counts."""
        return found.median if self.judged is Judgement.MEDIAN else found.high


@dataclass(frozen=True, slots=True)
class ClusterScenario:
    """One measurement."""

    name: str
    title: str
    measure: Callable[[ClusterSize], Samples]
    targets: Sequence[ClusterTarget] = ()


ClusterResults = dict[str, Samples | Failure]


@dataclass(frozen=True, slots=True)
class JudgedTarget:
    """A target and its measured value; None where there is none."""

    scenario: str
    target: ClusterTarget
    measured: float | None

    @property
    def is_met(self) -> bool | None:
        """True when the value is within the limit; None when it was not measured."""
        return None if self.measured is None else self.measured <= self.target.limit


def judge_cluster(
    scenarios: Sequence[ClusterScenario], results: ClusterResults
) -> list[JudgedTarget]:
    """Return each target with its measured value."""
    found = []
    for scenario in scenarios:
        samples = results.get(scenario.name)
        for target in scenario.targets:
            values = () if samples is None or isinstance(samples, Failure) else samples
            of_metric = values.get(target.metric) if isinstance(values, Mapping) else None
            measured = target.measured(spread(of_metric)) if of_metric else None
            found.append(JudgedTarget(scenario.name, target, measured))
    return found
