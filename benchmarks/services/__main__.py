"""Reads the command line: `python -m benchmarks.services`."""

import importlib.metadata
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.brokers import ROOT, SCRATCH
from benchmarks.command import run_command
from benchmarks.errors import BenchmarkError, ChoiceError, UnableError
from benchmarks.machine import describe_machine
from benchmarks.measure import Failure
from benchmarks.report import Circumstances
from benchmarks.services.figures import ServiceResults, ServiceScenario, ServiceSize
from benchmarks.services.report import print_services, render_services, services_json
from benchmarks.services.rivals.node_red import install_node_red, node_red_version
from benchmarks.services.scenarios import FULL_SIZE, QUICK_SIZE, SERVICE_SCENARIOS
from benchmarks.verdict import format_number

DOCUMENT = ROOT / "docs" / "benchmarks-services.md"
BUDGET_MIN = 5.5  # then no further round begins

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(
    epilog="\n\n".join(f"{each.name}: {each.title}" for each in SERVICE_SCENARIOS),
)
def services(
    quick: Annotated[
        bool, typer.Option("--quick", help="One short round at low rates: noisy.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="Run this scenario; repeatable.")] = None,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="After so long no further round begins.")
    ] = BUDGET_MIN,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the report here; a full run: docs/benchmarks-services.md."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers here, as JSON.")
    ] = None,
) -> None:
    """Measure microservices on this machine, against a paho script and Node-RED."""
    is_full = not (quick or only)
    scenarios = _choose(only or [])
    if is_full and (missing := install_node_red()):
        sys.stderr.write(f"cannot compare with Node-RED: {missing}\n")
    load = os.getloadavg()[0]
    machine, started, clock = describe_machine(SCRATCH), datetime.now(UTC), time.monotonic()
    console, size = Console(), QUICK_SIZE if quick else FULL_SIZE
    results = run_services(scenarios, size, 60 * minutes, console)
    words = ["python", "-m", "benchmarks.services", *(["--quick"] if quick else [])]
    words += [word for name in only or [] for word in ("--only", name)]
    took = time.monotonic() - clock
    circumstances = Circumstances(machine, shlex.join(words), started, took, quick, load)
    print_services(console, scenarios, results)
    if out := out or (DOCUMENT if is_full else None):
        versions = [f"paho-mqtt: {importlib.metadata.version('paho-mqtt')}"]
        if version := node_red_version():
            versions.append(f"Node-RED: {version}")
        out.write_text(render_services(scenarios, results, circumstances, size.rounds, versions))
    if json_file is not None:
        json_file.write_text(services_json(scenarios, results, circumstances))
    if results.has_failed():
        raise typer.Exit(1)


def run_services(
    scenarios: Sequence[ServiceScenario], size: ServiceSize, budget_s: float, console: Console
) -> ServiceResults:
    """Return the results of all rounds; each subject has one at least, whatever the time is."""
    results, end = ServiceResults(), time.monotonic() + budget_s
    for number in range(size.rounds):
        for scenario in scenarios:
            for subject in scenario.subjects:
                if number and (subject in scenario.once or time.monotonic() > end):
                    continue
                outcome = _measure(scenario, subject, size)
                results.add(scenario.name, subject, outcome)
                text = f"{scenario.name:18} {subject:12} {_summarise(outcome)}"
                console.print(text, highlight=False, markup=False)
    return results


def _measure(
    scenario: ServiceScenario, subject: str, size: ServiceSize
) -> Mapping[str, float] | Failure:
    try:
        return scenario.measure(subject, size)
    except (BenchmarkError, OSError) as exc:
        return Failure(str(exc), isinstance(exc, UnableError))


def _summarise(outcome: Mapping[str, float] | Failure) -> str:
    if isinstance(outcome, Failure):
        return f"- {outcome.reason}"
    return ", ".join(f"{name} {format_number(value)}" for name, value in outcome.items())


def _choose(names: Sequence[str]) -> Sequence[ServiceScenario]:
    known = {each.name: each for each in SERVICE_SCENARIOS}
    if unknown := [name for name in names if name not in known]:
        raise ChoiceError(
            f"cannot run scenario {unknown[0]}: no such name; known: {', '.join(known)}"
        )
    return [known[name] for name in names] or SERVICE_SCENARIOS


def main() -> int:
    """Run and return the exit code: 0 done, 1 a scenario failed, 2 wrong options."""
    return run_command(app, "python -m benchmarks.services")


if __name__ == "__main__":
    sys.exit(main())
