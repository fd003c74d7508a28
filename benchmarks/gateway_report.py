"""Writes the table of mutual disturbance of a gateway's parts into the report. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import Spread, percentile, spread
from benchmarks.verdict import format_spread

HEADING = "## Inside a gateway"
EXPLAINED = """\
`python -m benchmarks.interference` writes this section. A gateway without a cloud runs on one core,
probes and loads on another. *MQTT* is the time from when a QoS 1 message was due (500 a second) to
its delivery, *API* that from when `GET /status/v1` was due (50 a second, over 10 connections) to
its answer, in milliseconds: the median of the rounds and, in brackets, their lowest and highest.
*Load done* is what the disturbing load got through meanwhile. Beside the gateway as it is: one
request begun per turn of the loop; the sidecar in a thread with an event loop of its own (not safe,
an experiment); two gateways, one for MQTT and one for HTTP, on the same core: all that two
processes could gain, without the price of their talking.
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One variant, one probe, one load: latencies of one round, and what the load got done."""

    variant: str
    probe: str
    load: str
    latencies: Sequence[float]
    done: str = ""


@dataclass(frozen=True, slots=True)
class ReportLine:
    """All rounds of one variant, probe and load, in milliseconds."""

    variant: str
    probe: str
    load: str
    p50: Spread
    p99: Spread
    done: str


def make_lines(cells: Sequence[Cell]) -> list[ReportLine]:
    """Return one line for each combination, in the order they first came."""
    grouped: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        grouped.setdefault((cell.variant, cell.probe, cell.load), []).append(cell)
    return [
        ReportLine(*key, _spread(rounds, 50), _spread(rounds, 99), rounds[len(rounds) // 2].done)
        for key, rounds in grouped.items()
    ]


def render_section(cells: Sequence[Cell]) -> str:
    """Return the part of docs/benchmarks.md."""
    lines = [HEADING, "", EXPLAINED]
    lines += [
        "| gateway | probe | load | p50 ms | p99 ms | load done |",
        "|---|---|---|--:|--:|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in format_lines(cells)]
    return "\n".join(lines) + "\n"


def format_lines(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    """Return the cells of the table."""
    return [
        (
            each.variant,
            each.probe,
            each.load,
            format_spread(each.p50),
            format_spread(each.p99),
            each.done,
        )
        for each in make_lines(cells)
    ]


def insert_section(document: str, section: str) -> str:
    """Return the document with this section, in place of an older one or at the end."""
    before, found, after = document.partition(HEADING + "\n")
    if not found:
        return document.rstrip("\n") + "\n\n" + section
    _, following, rest = after.partition("\n## ")
    return before + section + (following + rest if following else "")


def _spread(rounds: Sequence[Cell], percent: float) -> Spread:
    return spread([percentile(sorted(cell.latencies), percent) * 1e3 for cell in rounds])
