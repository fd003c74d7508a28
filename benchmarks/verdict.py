"""Turns outcomes into rows of tables and judges targets; does no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.brokers import OURS, BenchBroker
from benchmarks.latency import LATE
from benchmarks.measure import Failure, Outcome, Sample, Spread, pair_ratios, spread
from benchmarks.rounds import Results, RoundPlan
from benchmarks.scenarios import BenchTarget, Metric, Scenario


@dataclass(frozen=True, slots=True)
class Row:
    """One broker in one scenario, by one metric."""

    broker: str
    value: Spread | None
    rounds: int
    ratio: Spread | None  # ours is so many times better; None for ours
    cpu_us: float | None
    cpu_ratio: Spread | None  # the same by processor time, which other programs disturb least
    broker_busy: float | None
    generator_busy: float | None
    memory_mib: float | None
    remarks: tuple[str, ...]
    footnote: str = ""  # the reason for a missing number


@dataclass(frozen=True, slots=True)
class Judged:
    """A target of the design and what was measured."""

    scenario: str
    metric: str
    target: str
    measured: str
    is_met: bool | None  # None: could not be measured


def make_rows(plan: RoundPlan, results: Results, scenario: Scenario, metric: Metric) -> list[Row]:
    """Return one row for each broker, in the order they were given."""
    mine = results.outcomes.get((scenario.name, OURS), [])
    return [
        _make_row(broker.name, mine, results.outcomes[scenario.name, broker.name], metric)
        for broker in plan.brokers
    ]


def _make_row(name: str, mine: Sequence[Outcome], theirs: Sequence[Outcome], metric: Metric) -> Row:
    values = _values(theirs, metric.name)
    measured = [value for value in values if value is not None]
    samples = [outcome for outcome in theirs if isinstance(outcome, Sample)]
    failures = [outcome.reason for outcome in theirs if isinstance(outcome, Failure)]
    ratio = cpu_ratio = None
    if mine and name != OURS:
        ours = _values(mine, metric.name)
        ratio = pair_ratios(ours, values, higher_is_better=metric.higher_is_better)
        if metric.has_cpu:
            cpu_ratio = pair_ratios(_cpu_times(mine), _cpu_times(theirs), higher_is_better=False)
    return Row(
        broker=name,
        value=spread(measured) if measured else None,
        rounds=len(measured),
        ratio=ratio,
        cpu_us=_median(_cpu_times(theirs)) if metric.has_cpu else None,
        cpu_ratio=cpu_ratio,
        broker_busy=_median([sample.broker_busy for sample in samples]),
        generator_busy=_median([sample.generator_busy for sample in samples]),
        memory_mib=max((sample.memory_mib for sample in samples), default=None),
        remarks=_remark(theirs) if samples else (),
        footnote=failures[0] if failures and not samples else "",
    )


def judge(plan: RoundPlan, results: Results) -> list[Judged]:
    """Return every target of the scenarios that were run."""
    judged = []
    for scenario in plan.scenarios:
        for metric in scenario.metrics:
            rows = make_rows(plan, results, scenario, metric) if metric.targets else []
            for target in metric.targets:
                measured, is_met = _compare(target, rows, plan.brokers)
                judged.append(Judged(scenario.name, metric.name, target.text, measured, is_met))
    return judged


def _compare(
    target: BenchTarget, rows: Sequence[Row], brokers: Sequence[BenchBroker]
) -> tuple[str, bool | None]:
    by_name = {row.broker: row for row in rows}
    if target.at_most is not None or target.at_least is not None:
        ours = by_name.get(OURS)
        if ours is None or ours.value is None:
            return "not measured", None
        median = ours.value.median
        is_met = target.at_most is None or median <= target.at_most
        return format_number(median), is_met and median >= (target.at_least or 0)
    rival = by_name.get(target.rival)
    if rival is None or rival.ratio is None or target.ratio is None:
        return "not measured", None
    version = next(broker.version for broker in brokers if broker.name == target.rival)
    wanted = next(
        (ratio for prefix, ratio in target.ratio_by_version if version.startswith(prefix)),
        target.ratio,
    )
    return f"{format_ratio(rival.ratio)} {target.rival} {version}", rival.ratio.median >= wanted


def format_number(value: float) -> str:
    """Return a number with as many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def format_spread(value: Spread | None) -> str:
    """Return the median and, in brackets, the range."""
    if value is None:
        return "-"
    middle, low, high = (format_number(part) for part in (value.median, value.low, value.high))
    return middle if value.low == value.high else f"{middle} ({low} to {high})"


def format_ratio(ratio: Spread | None) -> str:
    """Return a ratio and its range."""
    if ratio is None:
        return "-"
    if ratio.low == ratio.high:
        return f"{ratio.median:.2f}x"
    return f"{ratio.median:.2f}x ({ratio.low:.2f} to {ratio.high:.2f})"


def _remark(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    remarks = []
    failures = [outcome.reason for outcome in outcomes if isinstance(outcome, Failure)]
    if failures:
        remarks.append(f"{len(failures)} of {len(outcomes)} rounds failed: {failures[0]}")
    samples = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
    expected = sum(sample.tally.expected for sample in samples)
    counted = (
        ("LOST", sum(sample.tally.lost for sample in samples)),
        ("REPEATED", sum(sample.tally.repeated for sample in samples)),
    )
    remarks += [f"{what} {count:,} of {expected:,}" for what, count in counted if count]
    if cut := sum(sample.tally.missing for sample in samples if sample.tally.is_cut):
        remarks.append(f"too slow: {cut:,} of {expected:,} had not arrived when time was up")
    if any(sample.tally.disordered for sample in samples):
        remarks.append("WRONG OR OUT OF ORDER")
    if any(sample.is_generator_bound for sample in samples):
        remarks.append("generator bound: trust the ratio by CPU")
    if any(_is_generator_late(sample) for sample in samples):
        remarks.append("generator itself late: p99 means little")
    return tuple(remarks)


def _is_generator_late(sample: Sample) -> bool:
    late, p99 = sample.values.get(LATE), sample.values.get("p99 µs")
    return late is not None and p99 is not None and late > p99 / 4


def _values(outcomes: Sequence[Outcome], name: str) -> list[float | None]:
    return [
        outcome.values.get(name) if isinstance(outcome, Sample) else None for outcome in outcomes
    ]


def _cpu_times(outcomes: Sequence[Outcome]) -> list[float | None]:
    return [outcome.broker_cpu_us if isinstance(outcome, Sample) else None for outcome in outcomes]


def _median(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return spread(measured).median if measured else None
