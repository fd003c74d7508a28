"""Reads the command line: `python -m benchmarks.cluster`."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.brokers import ROOT, SCRATCH
from benchmarks.cluster.figures import (
    ClusterResults,
    ClusterScenario,
    ClusterSize,
    Samples,
    judge_cluster,
)
from benchmarks.cluster.report import cluster_json, render_cluster
from benchmarks.cluster.scenarios import CLUSTER_SCENARIOS, QUICK_SIZE
from benchmarks.command import run_command
from benchmarks.errors import BenchmarkError, ChoiceError, UnableError
from benchmarks.machine import describe_machine, raise_file_limit
from benchmarks.measure import Failure, spread
from benchmarks.report import VERDICTS, Circumstances
from benchmarks.verdict import format_number, format_spread

DOCUMENT = ROOT / "docs" / "benchmarks-cluster.md"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="\n\n".join(f"{each.name}: {each.title}" for each in CLUSTER_SCENARIOS))
def cluster(  # options
    quick: Annotated[bool, typer.Option("--quick", help="A few rounds: noisy.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Run this scenario; repeatable.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="The number of rounds. [default: 30]")
    ] = None,
    members: Annotated[
        int | None, typer.Option(min=1, help="The number of members in one process. [default: 200]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the report here; a full run: docs/benchmarks-cluster.md."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers here, as JSON.")
    ] = None,
) -> None:
    """Measure clusters of gateways on this machine (8 minutes); most of it needs root."""
    size = QUICK_SIZE if quick else ClusterSize()
    size = replace(size, rounds=rounds or size.rounds, members=members or size.members)
    scenarios = _choose(only or [])
    raise_file_limit()
    load = os.getloadavg()[0]
    machine, started, clock = describe_machine(SCRATCH), datetime.now(UTC), time.monotonic()
    console = Console()
    results = run_cluster(scenarios, size, console)
    words = ["python", "-m", "benchmarks.cluster", *(["--quick"] if quick else [])]
    words += [word for name in only or [] for word in ("--only", name)]
    took = time.monotonic() - clock
    circumstances = Circumstances(machine, shlex.join(words), started, took, quick, load)
    for judged in judge_cluster(scenarios, results):
        value = "-" if judged.measured is None else format_number(judged.measured)
        console.print(
            f"{judged.scenario:12} {judged.target.metric:42} {judged.target.judged} {value}, "
            f"target {format_number(judged.target.limit)}: {VERDICTS[judged.is_met]}",
            highlight=False,
        )
    is_full = not (quick or only or rounds or members)
    if out := out or (DOCUMENT if is_full else None):
        out.write_text(render_cluster(scenarios, results, circumstances, size))
    if json_file is not None:
        json_file.write_text(cluster_json(results, circumstances))
    if any(isinstance(each, Failure) and not each.is_unable for each in results.values()):
        raise typer.Exit(1)


def run_cluster(
    scenarios: Sequence[ClusterScenario], size: ClusterSize, console: Console
) -> ClusterResults:
    """Return the results of all scenarios."""
    results: ClusterResults = {}
    for scenario in scenarios:
        began = time.monotonic()
        results[scenario.name] = outcome = _measure(scenario, size)
        took = f"({time.monotonic() - began:.0f} s)"
        text = f"{scenario.name:12} {took} {_summarise(outcome)}"
        console.print(text, highlight=False, markup=False)
    return results


def _measure(scenario: ClusterScenario, size: ClusterSize) -> Samples | Failure:
    try:
        return scenario.measure(size)
    except (BenchmarkError, OSError, AssertionError) as exc:
        return Failure(str(exc)[:300], isinstance(exc, UnableError))


def _summarise(outcome: Samples | Failure) -> str:
    if isinstance(outcome, Failure):
        return f"- {outcome.reason}"
    return ", ".join(f"{name} {format_spread(spread(each))}" for name, each in outcome.items())


def _choose(names: Sequence[str]) -> Sequence[ClusterScenario]:
    known = {each.name: each for each in CLUSTER_SCENARIOS}
    if unknown := [name for name in names if name not in known]:
        raise ChoiceError(
            f"cannot run scenario {unknown[0]}: no such name; known: {', '.join(known)}"
        )
    return [known[name] for name in names] or CLUSTER_SCENARIOS


def main() -> int:
    """Run and return the exit code: 0 done, 1 a scenario failed, 2 wrong options."""
    return run_command(app, "python -m benchmarks.cluster")


if __name__ == "__main__":
    sys.exit(main())
