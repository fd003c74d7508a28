"""Computes phases, rates, percentiles and ratios of a run. No sockets, no clock.

Two brokers are compared pair by pair: round n of one with round n of the other, so that noise
of the machine, which lasts longer than a round, hits both alike.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

GENERATOR_BOUND = 0.95  # above this share of its core the generator may be the bottleneck


@dataclass(frozen=True, slots=True)
class Timing:
    """Holds the lengths of a run's phases."""

    warm_up_s: float
    measure_s: float
    stall_s: float = 3.0  # without progress for so long, what is missing counts as lost
    limit_s: float = 20.0  # whatever happens, a run is over then
    setup_s: float = 30.0  # for what comes before: connecting, subscribing, storing


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts the messages sent and received over the whole run."""

    expected: int
    received: int
    disordered: int = 0  # reads that did not continue where the one before ended
    is_cut: bool = False  # time was up while messages still arrived: what is missing is not lost

    @property
    def lost(self) -> int:
        """Return how many never arrived."""
        return 0 if self.is_cut else self.missing

    @property
    def missing(self) -> int:
        """Return how many had not arrived in the end."""
        return max(0, self.expected - self.received)

    @property
    def repeated(self) -> int:
        """Return how many arrived more often than they were sent."""
        return max(0, self.received - self.expected)

    @property
    def is_exact(self) -> bool:
        """Return whether everything arrived once and in order."""
        return self.expected == self.received and not self.disordered


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one scenario against one broker."""

    values: Mapping[str, float]
    tally: Tally
    broker_cpu_us: float | None = None  # of the broker's core, per delivery
    broker_busy: float | None = None  # share of its core that each side used: what is missing at
    generator_busy: float | None = None  # the busier one was waiting, or lost to other programs
    memory_mib: float = 0.0

    @property
    def is_generator_bound(self) -> bool:
        """Return whether a faster generator might have shown a faster broker."""
        return self.generator_busy is not None and self.generator_busy > GENERATOR_BOUND


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that gave no numbers."""

    reason: str
    is_unable: bool = False  # the broker does not have what it takes: no fault, a dash


Outcome = Sample | Failure


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of several rounds and how far they lie apart."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of processor time used so far."""

    broker_s: float
    generator_s: float


class Phase(Enum):
    """The phases of a run."""

    WARM_UP = auto()
    MEASURE = auto()
    DRAIN = auto()
    STALLED = auto()  # nothing arrives any more
    OVERDUE = auto()  # something still arrives, but time is up


@dataclass(frozen=True, slots=True)
class _Mark:
    now: float
    received: int
    cpu: Cpu


@dataclass(slots=True)
class Meter:
    """Decides the phase of a run and takes the rate between two instants.

    Rules: marks are taken at the first call in or after a phase's start, with the counts of that
    call, so a late call makes the interval longer but not the rate wrong. STALLED and OVERDUE are
    final.
    """

    timing: Timing
    start: float
    read_cpu: Callable[[], Cpu]
    phase: Phase = Phase.WARM_UP
    _marks: list[_Mark] = field(default_factory=list)
    _received: int = 0
    _progress_at: float = 0.0

    def __post_init__(self) -> None:
        self._progress_at = self.start

    def advance(self, now: float, received: int) -> Phase:
        """Return the phase at this instant, given what has arrived so far."""
        if received != self._received:
            self._received, self._progress_at = received, now
        elapsed = now - self.start
        if self.phase is Phase.WARM_UP and elapsed >= self.timing.warm_up_s:
            self._mark(Phase.MEASURE, now)
        elif self.phase is Phase.MEASURE and self._is_measured(elapsed):
            self._mark(Phase.DRAIN, now)
        if now - self._progress_at >= self.timing.stall_s:
            self._end(Phase.STALLED, now)
        elif elapsed >= self.timing.limit_s:
            self._end(Phase.OVERDUE, now)
        return self.phase

    @property
    def is_sending(self) -> bool:
        """Return whether new messages may be sent."""
        return self.phase in (Phase.WARM_UP, Phase.MEASURE)

    @property
    def is_over(self) -> bool:
        """Return whether there is nothing to wait for."""
        return self.phase in (Phase.STALLED, Phase.OVERDUE)

    @property
    def is_cut(self) -> bool:
        """Return whether time was up before everything had arrived."""
        return self.phase is Phase.OVERDUE

    def sample(self, tally: Tally, *, unit: str) -> Sample:
        """Return the rate and the processor time between the marks."""
        if len(self._marks) < 2:
            return Sample({unit: 0.0}, tally)
        first, last = self._marks
        interval, count = last.now - first.now, last.received - first.received
        broker_s = last.cpu.broker_s - first.cpu.broker_s
        return Sample(
            values={unit: count / interval},
            tally=tally,
            broker_cpu_us=broker_s / count * 1e6 if count else None,
            broker_busy=broker_s / interval,
            generator_busy=(last.cpu.generator_s - first.cpu.generator_s) / interval,
        )

    def _end(self, phase: Phase, now: float) -> None:
        if self.phase is Phase.MEASURE:
            self._mark(phase, now)
        if not self.is_over:
            self.phase = phase

    def _is_measured(self, elapsed: float) -> bool:
        return elapsed >= self.timing.warm_up_s + self.timing.measure_s

    def _mark(self, phase: Phase, now: float) -> None:
        self.phase = phase
        self._marks.append(_Mark(now, self._received, self.read_cpu()))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least this share of the ordered values do not exceed."""
    if not ordered:
        raise ValueError("cannot take a percentile: no values")
    rank = -(-len(ordered) * percent // 100)  # nearest rank, exact: no interpolation, no buckets
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]


def spread(values: Sequence[float]) -> Spread:
    """Return median, lowest and highest."""
    return Spread(statistics.median(values), min(values), max(values))


def pair_ratios(
    ours: Sequence[float | None], theirs: Sequence[float | None], *, higher_is_better: bool
) -> Spread | None:
    """Return how many times better ours is, round by round; None without a common round.

    Above 1 always means that ours is better: rates are divided by theirs, latency and memory
    the other way round.
    """
    ratios = [
        mine / other if higher_is_better else other / mine
        for mine, other in zip(ours, theirs, strict=False)  # slow ones have fewer rounds
        if mine and other
    ]
    return spread(ratios) if ratios else None
