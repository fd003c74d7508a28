"""Renders the results: tables in the terminal, docs/benchmarks.md with its details, JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from rich.console import Console
from rich.table import Table

from benchmarks.brokers import OURS
from benchmarks.measure import Failure, Outcome, Sample
from benchmarks.rounds import Results, RoundPlan
from benchmarks.scenarios import Metric, Scenario
from benchmarks.verdict import (
    Row,
    format_number,
    format_ratio,
    format_spread,
    judge,
    make_rows,
)

BUSY_LOAD = 0.5
VERDICTS = {True: "met", False: "missed", None: "not measured"}

INTRODUCTION = """\
# Benchmarks

`make bench` writes this page; [benchmarks-details.md](benchmarks-details.md) has the method, the
spread and every number. Absolute numbers belong to one machine and one hour: read the ratios. The
brokers take turns, and a ratio compares the same round of both; the tables give the median.
**Above 1x Hecate is better**, for rates as for latency and memory.
"""

DETAILS = """\
# Benchmarks: details

`make bench` writes this page; [benchmarks.md](benchmarks.md) is the summary. Ratios are medians
with the lowest and the highest round in brackets. **Above 1x Hecate is better**.
"""

METHOD = """\
## How it is measured

- Each run starts a fresh broker process bound to one core; the generator has another core. Servers
  that would use more cores (NATS) are bound to one like everybody.
- The generator (`benchmarks/generator.py`) speaks MQTT 3.1.1 over raw sockets in one process, with
  packets encoded ahead. A window bounds what is under way, so that no broker is pushed into
  dropping: QoS 0 publishers stay that far ahead of the slowest subscriber, QoS 1 and 2 ones have
  that many messages not yet both acknowledged and delivered.
- A rate is what subscribers received between two instants after a warm-up. Afterwards the run goes
  on until all has arrived. Every delivery is counted, QoS 0 streams are compared byte for byte with
  what was sent, others number by number; loss, repetition and disorder stand in the remarks.
- In QoS 0 streams of small packets the generator rests for half a millisecond when a read brought
  little. Without that, waking it for single packets costs the broker time, Mosquitto most of all.
- *CPU per delivery* is what the broker's process used, in user and kernel mode. Other programs on
  the machine disturb it least, so the ratio *by CPU* is the one to trust when the rounds lie far
  apart. *Busy* is the share of its core that each side used: a broker well below 100 % was waiting
  for round trips, or other programs took its core. *Generator bound*: the generator used more than
  95 % of its core, a faster one might have shown a faster broker.
- *Ceiling* is the rate of a process that copies bytes and parses nothing, in the broker's place.
- A broker that lacks what a scenario needs has a dash and a footnote.
- The 1:1, 1:50 and QoS 1 scenarios send one topic and one size: the best case for a broker that
  handles equal packets in a run, as Hecate does. `qos0_mixed` changes both with every packet;
  `subscriptions_100k` has so many topics that no route is remembered: the worst case. Real traffic
  lies between.
- 500 publishers of single packets have one message each under way: the next leaves when that one is
  delivered and, at QoS 1, acknowledged.
- Latency counts from the instant a message was due, so a broker that holds up the sender does not
  look fast for it. The generator spins; how late it was itself stands with the raw numbers, and p99
  means nothing where that is of the same size.
- Memory is the resident memory of the broker's process; that of connections, subscriptions and
  retained messages is its growth divided by their number.
- Connections come 50 at a time and must all answer a ping in the end. Of the 100,000 subscriptions
  each client must get the message that one of its filters matches. Retained messages must all come
  once, whole and marked.
- TLS is 1.3 with a P-256 certificate made for the run. WebSocket clients send each packet in a
  frame of its own.
- Durable scenarios keep their files beside the sources, not in a /tmp that may be memory. Each
  publisher has a stored session that gets its messages; a PUBACK is timed from when its PUBLISH was
  due.

What this does not show: several cores, real networks, sessions that stay away for long.
"""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Describes the machine, the time and the options of a run."""

    machine: dict[str, str]
    command: str
    started: datetime
    took_s: float
    is_quick: bool
    load: float = 0.0  # average number of programs that wanted a core when it started


def print_report(console: Console, plan: RoundPlan, results: Results) -> None:
    """Print one table for each scenario, and the targets."""
    for scenario, metric in _pairs(plan):
        table = Table(title=f"{scenario.name}: {metric.name}", title_justify="left")
        table.add_column("broker")
        columns = ("median (lowest to highest)", f"{OURS} is better by", "CPU µs", "by CPU", "busy")
        for name in (*columns, "MiB"):
            table.add_column(name, justify="right")
        table.add_column("remarks")
        rows = make_rows(plan, results, scenario, metric)
        for row in rows:
            table.add_row(*_cells(row))
        notes = [f"* {row.broker}: {row.footnote}" for row in rows if row.footnote]
        if ceiling := _format_ceiling(results, scenario, metric):
            notes.append(f"ceiling: {ceiling}")
        table.caption = "; ".join(notes) or None
        console.print(table)
    judged = judge(plan, results)
    if judged:
        table = Table("scenario", "metric", "target", "measured", "", title="Targets")
        for each in judged:
            verdict = VERDICTS[each.is_met]
            table.add_row(each.scenario, each.metric, each.target, each.measured, verdict)
        console.print(table)


def render_markdown(plan: RoundPlan, results: Results, circumstances: Circumstances) -> str:
    """Return docs/benchmarks.md: one page."""
    parts = [
        INTRODUCTION,
        _render_circumstances(plan, circumstances),
        _render_targets(plan, results),
        _render_summary(plan, results),
    ]
    return "\n".join(parts)


def describe_run(
    circumstances: Circumstances, rounds: str, *more: str, busy: str, quick: str
) -> list[str]:
    """Return the lines about a run; busy and quick say how far to trust such a one."""
    lines = [
        "## This run\n",
        f"- command: `{circumstances.command}`",
        f"- date: {circumstances.started:%Y-%m-%d %H:%M} UTC, took {circumstances.took_s:.0f} s",
        f"- rounds: {rounds}",
        *(f"- {name}: {value}" for name, value in circumstances.machine.items()),
        *(f"- {each}" for each in more),
    ]
    if circumstances.load > BUSY_LOAD:
        lines.append(f"- **other programs were running: {busy}**")
    if circumstances.is_quick:
        lines.append(f"- **a quick run: {quick}; not for quoting**")
    return lines


def render_details(plan: RoundPlan, results: Results) -> str:
    """Return docs/benchmarks-details.md: tables by scenario, method, raw numbers."""
    parts = [
        DETAILS,
        "## Results\n",
        *(_render_table(plan, results, *pair) for pair in _pairs(plan)),
        METHOD,
        "## Raw numbers\n\nOne number for each round, in the order they were taken.\n",
        *(_render_raw(plan, results, scenario) for scenario in plan.scenarios),
    ]
    return "\n".join(parts)


def render_json(plan: RoundPlan, results: Results, circumstances: Circumstances) -> str:
    """Return everything that was measured, for programs."""
    return json.dumps(
        {
            "machine": circumstances.machine,
            "command": circumstances.command,
            "started": circumstances.started.isoformat(),
            "took_s": round(circumstances.took_s, 1),
            "brokers": {broker.name: broker.version for broker in plan.brokers},
            "targets": [asdict(each) for each in judge(plan, results)],
            "runs": [
                {"scenario": scenario, "broker": broker, "round": number, **_as_json(outcome)}
                for (scenario, broker), outcomes in results.outcomes.items()
                for number, outcome in enumerate(outcomes, 1)
            ],
        },
        indent=2,
    )


def _pairs(plan: RoundPlan) -> Iterator[tuple[Scenario, Metric]]:
    for scenario in plan.scenarios:
        for metric in scenario.metrics:
            yield scenario, metric


def _cells(row: Row) -> Sequence[str]:
    return (
        row.broker,
        format_spread(row.value) + (" \\*" if row.footnote else ""),
        format_ratio(row.ratio),
        "-" if row.cpu_us is None else format_number(row.cpu_us),
        format_ratio(row.cpu_ratio),
        _format_busy(row),
        "-" if row.memory_mib is None else format_number(row.memory_mib),
        "; ".join(row.remarks),
    )


def _format_busy(row: Row) -> str:
    shares = (row.broker_busy, row.generator_busy)
    if shares == (None, None):
        return "-"
    return " / ".join("-" if share is None else f"{share:.0%}" for share in shares)


def _format_ceiling(results: Results, scenario: Scenario, metric: Metric) -> str:
    ceiling = results.ceilings.get(scenario.name)
    if not isinstance(ceiling, Sample):
        return ""
    busy = (
        "" if ceiling.generator_busy is None else f", generator {ceiling.generator_busy:.0%} busy"
    )
    value = ceiling.values.get(metric.name)
    return "" if value is None else f"{format_number(value)}{busy}"


def _render_circumstances(plan: RoundPlan, circumstances: Circumstances) -> str:
    apart = "on its own" if plan.cores.are_apart else "SHARED WITH THE GENERATOR"
    lines = describe_run(
        circumstances,
        f"{plan.rounds}, but one for rivals that are too slow for that; each"
        f" {plan.timing.warm_up_s:g} s of warm-up and {plan.timing.measure_s:g} s measured",
        f"core of the broker: {apart}",
        busy="trust the ratios by CPU, not the rates",
        quick="short, noisy, with a tenth of the connections, subscriptions and retained messages",
    )
    lines += ["", "| broker | version | set up |", "|---|---|---|"]
    lines += [f"| {each.name} | {each.version} | {each.setup} |" for each in plan.brokers]
    return "\n".join(lines) + "\n"


def _render_targets(plan: RoundPlan, results: Results) -> str:
    lines = ["## Targets\n", "| scenario | metric | target | measured | |", "|---|---|---|---|---|"]
    lines += [
        f"| {each.scenario} | {each.metric} | {each.target} | {each.measured} "
        f"| {VERDICTS[each.is_met]} |"
        for each in judge(plan, results)
    ]
    return "\n".join(lines) + "\n"


def _render_summary(plan: RoundPlan, results: Results) -> str:
    rivals = [each.name for each in plan.brokers if each.name != OURS]
    lines = [
        "## Results\n",
        f"| scenario | metric | {OURS} | {' | '.join(f'against {name}' for name in rivals)} |",
        f"|---|---|--:|{'--:|' * len(rivals)}",
    ]
    for scenario, metric in _pairs(plan):
        rows = {row.broker: row for row in make_rows(plan, results, scenario, metric)}
        ours = rows[OURS].value if OURS in rows else None
        cells = [format_number(ours.median) if ours is not None else "-"]
        for name in rivals:
            ratio = rows[name].ratio if name in rows else None
            cells.append(f"{ratio.median:.2f}x" if ratio is not None else "-")
        lines.append(f"| {scenario.name} | {metric.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _render_table(plan: RoundPlan, results: Results, scenario: Scenario, metric: Metric) -> str:
    lines = [
        f"### {scenario.name}: {metric.name}\n",
        f"{scenario.title} (`{scenario.suite_name}`).\n",
        f"| broker | median (lowest to highest) | {OURS} is better by | CPU µs per delivery "
        "| the same by CPU | busy: broker / generator | memory MiB | remarks |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    rows = make_rows(plan, results, scenario, metric)
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    if footnotes := [f"\\* {row.broker}: {row.footnote}" for row in rows if row.footnote]:
        lines += ["", "; ".join(footnotes) + "."]
    if ceiling := _format_ceiling(results, scenario, metric):
        lines.append(f"\nCeiling: {ceiling}.")
    return "\n".join(lines) + "\n"


def _render_raw(plan: RoundPlan, results: Results, scenario: Scenario) -> str:
    lines = [f"### {scenario.name}\n"]
    for broker in plan.brokers:
        outcomes = results.outcomes[scenario.name, broker.name]
        samples = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
        for name in dict.fromkeys(name for sample in samples for name in sample.values):
            numbers = ", ".join(format_number(sample.values[name]) for sample in samples)
            lines.append(f"- {broker.name}, {name}: {numbers}")
        failures = [outcome.reason for outcome in outcomes if isinstance(outcome, Failure)]
        lines += [f"- {broker.name}, failed: {reason}" for reason in failures]
    return "\n".join(lines) + "\n"


def _as_json(outcome: Outcome) -> dict[str, object]:
    if isinstance(outcome, Failure):
        return {"failed": outcome.reason}
    tally = outcome.tally
    counted = {"lost": tally.lost, "repeated": tally.repeated, **asdict(tally)}
    return {**asdict(outcome), "tally": counted}
