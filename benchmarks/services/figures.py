"""Defines scenarios of microservices, their targets and their results; judges them. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.measure import Failure, Spread, spread

PYTHON, JAVASCRIPT = "python", "javascript"  # subjects: ours
PAHO, NODE_RED = "paho script", "node-red"  # and the rivals
BARE = "bare sockets"  # and what the machine needs without any of them
BARE_ASYNCIO = "bare asyncio"  # and with the event loop of Python alone
OURS = (PYTHON, JAVASCRIPT)


@dataclass(frozen=True, slots=True)
class ServiceSize:
    """The length of each measurement, and the load in it."""

    rounds: int = 3
    seconds: float = 2.0  # of one rate, and of one number of clients
    rates: Sequence[int] = (2_000, 5_000, 8_000, 12_000, 20_000)  # messages/s offered
    slow_rates: Sequence[int] = (100, 300, 600)  # to a handler that has a process per message
    warm_up_s: float = 0.5
    probes: int = 300  # messages, one after the other
    starts: int = 20  # cold ones of each kind
    clients: Sequence[int] = (1, 4)
    settle_s: float = 1.0  # before memory is read
    changes: int = 3  # deployments, updates and rollbacks


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """A bound for a metric of a subject: at most a limit, or at least."""

    subject: str
    metric: str
    limit: float
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        """Return whether a value is within the bound."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class ServiceScenario:
    """A measurement that all its subjects go through, one after the other."""

    name: str
    title: str
    subjects: Sequence[str]
    measure: Callable[[str, ServiceSize], Mapping[str, float]]
    targets: Sequence[ServiceTarget] = ()
    once: Sequence[str] = ()  # subjects of the first round alone: they take long


@dataclass(slots=True)
class ServiceResults:
    """The numbers of all rounds, by scenario and subject; a Failure where there are none."""

    rounds: dict[tuple[str, str], list[Mapping[str, float] | Failure]] = field(default_factory=dict)

    def add(self, scenario: str, subject: str, outcome: Mapping[str, float] | Failure) -> None:
        """Add one round."""
        self.rounds.setdefault((scenario, subject), []).append(outcome)

    def metrics(self, scenario: str, subject: str) -> dict[str, Spread]:
        """Return median, lowest and highest of each metric, in their order."""
        values: dict[str, list[float]] = {}
        for outcome in self.rounds.get((scenario, subject), ()):
            if not isinstance(outcome, Failure):
                for name, value in outcome.items():
                    values.setdefault(name, []).append(value)
        return {name: spread(each) for name, each in values.items()}

    def failures(self, scenario: str, subject: str) -> list[Failure]:
        """Return the rounds without numbers."""
        outcomes = self.rounds.get((scenario, subject), ())
        return [each for each in outcomes if isinstance(each, Failure)]

    def has_failed(self) -> bool:
        """Return whether a round of ours gave no numbers."""
        return any(
            isinstance(outcome, Failure) and not outcome.is_unable
            for (_, subject), outcomes in self.rounds.items()
            if subject in OURS
            for outcome in outcomes
        )


@dataclass(frozen=True, slots=True)
class JudgedService:
    """A target and its measured value; None where there is none."""

    scenario: str
    target: ServiceTarget
    measured: Spread | None

    @property
    def is_met(self) -> bool | None:
        """True when the median is within the bound; None when it was not measured."""
        return None if self.measured is None else self.target.is_met(self.measured.median)


def judge_services(
    scenarios: Sequence[ServiceScenario], results: ServiceResults
) -> list[JudgedService]:
    """Return each target with its measured value."""
    return [
        JudgedService(
            scenario.name,
            target,
            results.metrics(scenario.name, target.subject).get(target.metric),
        )
        for scenario in scenarios
        for target in scenario.targets
    ]


def beyond_peak(handled: Mapping[int, float]) -> tuple[float, float]:
    """Return the highest throughput, and the lowest at higher rates as a share of it.

    Args:
        handled: messages handled per second, by the rate that was offered.
    """
    peak_rate = max(handled, key=lambda rate: handled[rate])
    peak = handled[peak_rate]
    return peak, min(value for rate, value in handled.items() if rate >= peak_rate) / (peak or 1)
