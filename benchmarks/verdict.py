"""What the outcomes mean: rows of the tables and targets met or missed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.brokers import OURS, Broker
from benchmarks.measure import Failure, Outcome, Sample, Spread, pair_ratios, spread
from benchmarks.rounds import Plan, Results
from benchmarks.scenarios import Metric, Scenario, Target


@dataclass(frozen=True, slots=True)
class Row:
    """One broker in one scenario, by one metric."""

    broker: str
    value: Spread | None
    ratio: Spread | None  # how many times better ours is; None for ours
    cpu_us: float | None
    cpu_ratio: Spread | None  # the same by processor time, which other programs disturb least
    broker_busy: float | None
    generator_busy: float | None
    memory_mib: float
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A target of the design and what was measured."""

    scenario: str
    metric: str
    target: str
    measured: str
    is_met: bool | None  # None: could not be measured


def make_rows(plan: Plan, results: Results, scenario: Scenario, metric: Metric) -> list[Row]:
    """Return one row for each broker, in the order they were given."""
    mine = results.outcomes.get((scenario.name, OURS), [])
    ours, our_cpu = _values(mine, metric.name), _cpu_times(mine)
    rows = []
    for broker in plan.brokers:
        outcomes = results.outcomes[scenario.name, broker.name]
        values = _values(outcomes, metric.name)
        measured = [value for value in values if value is not None]
        samples = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
        ratio = cpu_ratio = None
        if ours and broker.name != OURS:
            ratio = pair_ratios(ours, values, higher_is_better=metric.higher_is_better)
            cpu_ratio = pair_ratios(our_cpu, _cpu_times(outcomes), higher_is_better=False)
        rows.append(
            Row(
                broker.name,
                spread(measured) if measured else None,
                ratio,
                _median(_cpu_times(outcomes)),
                cpu_ratio,
                _median([sample.broker_busy for sample in samples]),
                _median([sample.generator_busy for sample in samples]),
                max((sample.memory_mib for sample in samples), default=0.0),
                _remark(outcomes),
            )
        )
    return rows


def judge(plan: Plan, results: Results) -> list[Judged]:
    """Return every target of the scenarios that were run."""
    judged = []
    for scenario in plan.scenarios:
        for metric in scenario.metrics:
            if metric.target is not None:
                rows = make_rows(plan, results, scenario, metric)
                measured, is_met = _compare(metric.target, rows, plan.brokers)
                target = metric.target.text
                judged.append(Judged(scenario.name, metric.name, target, measured, is_met))
    return judged


def _compare(
    target: Target, rows: Sequence[Row], brokers: Sequence[Broker]
) -> tuple[str, bool | None]:
    by_name = {row.broker: row for row in rows}
    if target.at_most is not None:
        ours = by_name.get(OURS)
        if ours is None or ours.value is None:
            return "not measured", None
        return format_number(ours.value.median), ours.value.median <= target.at_most
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
    return f"{middle} ({low} to {high})"


def format_ratio(ratio: Spread | None) -> str:
    """Return a ratio and its range."""
    if ratio is None:
        return "-"
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
        remarks.append("OUT OF ORDER")
    if any(sample.is_generator_bound for sample in samples):
        remarks.append("generator at its limit: see CPU per delivery")
    return tuple(remarks)


def _values(outcomes: Sequence[Outcome], name: str) -> list[float | None]:
    return [
        outcome.values.get(name) if isinstance(outcome, Sample) else None for outcome in outcomes
    ]


def _cpu_times(outcomes: Sequence[Outcome]) -> list[float | None]:
    return [outcome.broker_cpu_us if isinstance(outcome, Sample) else None for outcome in outcomes]


def _median(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return spread(measured).median if measured else None
