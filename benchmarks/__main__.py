"""Reads the command line: `python -m benchmarks`."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.brokers import OURS, ROOT, SCRATCH, BenchBroker
from benchmarks.command import run_command
from benchmarks.errors import ChoiceError
from benchmarks.machine import choose_cores, describe_machine, raise_file_limit
from benchmarks.measure import Failure, Outcome, Timing
from benchmarks.report import (
    Circumstances,
    print_report,
    render_details,
    render_json,
    render_markdown,
)
from benchmarks.rivals import find_brokers, install_aedes, parse_rival
from benchmarks.rounds import Results, RoundPlan, run_plan
from benchmarks.scenarios import BY_NAME, SCENARIOS, Scenario, Size
from benchmarks.verdict import format_number

DOCUMENT = ROOT / "docs" / "benchmarks.md"
QUICK_BROKERS = (OURS, "mosquitto")

FULL = Timing(warm_up_s=0.5, measure_s=2.0)
QUICK = Timing(warm_up_s=0.2, measure_s=0.5)
FULL_ROUNDS, QUICK_ROUNDS = 3, 1  # odd: the median is one of them
FULL_SIZE = Size()
OTHER_FILES = 200  # open files of a broker or the generator besides its connections
BUDGET_MIN = 20.0  # with the measurements in a gateway, `make bench` takes 25
QUICK_SIZE = Size(connections=1_000, subscriptions=10_000, retained=10_000)

EPILOG = "\n\n".join(
    [
        "Scenarios:",
        *(f"  {each.name}: {each.title}" for each in SCENARIOS),
        "Brokers: Hecate, and of mosquitto, nats-server, aedes (npm) and amqtt (PyPI) those that "
        "are installed; a full run puts aedes into build/npm. Add any other by its command. {port} "
        "becomes the port to listen on, {dir} a folder for its files, {mosquitto_conf} a "
        "configuration file, which also tells of TLS, WebSocket and persistence.",
        "Examples:",
        "  python -m benchmarks --quick",
        "  python -m benchmarks --only latency_10k --broker hecate --broker mosquitto",
        "  python -m benchmarks --only qos1_1to1 --rival 'new=./mosquitto -c {mosquitto_conf}'",
    ]
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Holds the options of the command line."""

    quick: bool = False
    scenarios: Sequence[str] = ()
    brokers: Sequence[str] = ()
    rivals: Sequence[str] = ()
    rounds: int | None = None
    minutes: float | None = None


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EPILOG)
def bench(  # noqa: PLR0913  # options
    quick: Annotated[
        bool,
        typer.Option("--quick", help="One short, small round of Hecate and mosquitto: noisy."),
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="Run this scenario; repeatable.")] = None,
    broker: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Run this broker only; repeatable.")
    ] = None,
    rival: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COMMAND", help="Add a broker by its command; repeatable."),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=100, help="Rounds for each.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=1, help="The minutes that it may take in all, about. [default: 20]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the summary here, details beside it; a full run writes docs/benchmarks.md."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers here, as JSON.")
    ] = None,
) -> None:
    """Measure Hecate's broker against others on this machine, in one run.

    Brokers take turns, each round in a fresh process on one core, with the load generator on
    another. Everything sent is counted on arrival. Ratios count, not absolute numbers.
    """
    choice = Choice(quick, only or [], broker or [], rival or [], rounds, minutes)
    is_full = not (quick or choice.brokers or choice.scenarios)
    if out is None and is_full:
        out = DOCUMENT
    if is_full and (missing := install_aedes()):
        sys.stderr.write(f"{missing}\n")
    plan = make_plan(choice, find_brokers())
    console = Console()
    plan = fit_files(plan, raise_file_limit())
    load = os.getloadavg()[0]
    machine, started, clock = describe_machine(SCRATCH), datetime.now(UTC), time.monotonic()
    os.sched_setaffinity(0, {plan.cores.generator})
    results = _run_with_progress(console, plan)
    circumstances = Circumstances(
        machine, _describe_command(choice), started, time.monotonic() - clock, quick, load
    )
    print_report(console, plan, results)
    if out is not None:
        out.write_text(render_markdown(plan, results, circumstances))
        details = out.with_name(f"{out.stem}-details{out.suffix}")
        details.write_text(render_details(plan, results))
    if json_file is not None:
        json_file.write_text(render_json(plan, results, circumstances))
    if _has_failed(results):
        raise typer.Exit(1)


def make_plan(choice: Choice, found: Sequence[BenchBroker]) -> RoundPlan:
    """Return what to run; raise ChoiceError for names that mean nothing."""
    return RoundPlan(
        scenarios=_choose_scenarios(choice.scenarios),
        brokers=_choose_brokers(choice, found),
        rounds=choice.rounds or (QUICK_ROUNDS if choice.quick else FULL_ROUNDS),
        timing=QUICK if choice.quick else FULL,
        size=QUICK_SIZE if choice.quick else FULL_SIZE,
        cores=choose_cores(),
        budget_s=60 * (choice.minutes or BUDGET_MIN),
    )


def fit_files(plan: RoundPlan, files: int) -> RoundPlan:
    """Return the plan with no more connections than files may be open; say so if they are fewer."""
    if files >= plan.size.connections + OTHER_FILES:
        return plan
    fewer = max(1, files - OTHER_FILES)
    sys.stderr.write(
        f"cannot hold {plan.size.connections:,} connections: only {files:,} files may be open "
        f"(ulimit -n); {fewer:,} are tried\n"
    )
    return replace(plan, size=replace(plan.size, connections=fewer))


def _choose_scenarios(names: Sequence[str]) -> list[Scenario]:
    if not names:
        return list(SCENARIOS)
    if unknown := [name for name in names if name not in BY_NAME]:
        known = ", ".join(BY_NAME)
        raise ChoiceError(f"cannot run scenario {unknown[0]}: no such name; known: {known}")
    return [BY_NAME[name] for name in names]


def _choose_brokers(choice: Choice, found: Sequence[BenchBroker]) -> list[BenchBroker]:
    added = [parse_rival(text) for text in choice.rivals]
    wanted = list(choice.brokers)
    by_name = {each.name: each for each in found}
    if missing := [name for name in wanted if name not in by_name]:
        raise ChoiceError(f"cannot run broker {missing[0]}: not found; found: {', '.join(by_name)}")
    if not wanted:  # all
        wanted = [name for name in by_name if not choice.quick or name in QUICK_BROKERS]
    chosen = [by_name[name] for name in wanted] + added
    if len({each.name for each in chosen}) != len(chosen):
        raise ChoiceError("cannot run the same broker twice: give each another name")
    return chosen


def _run_with_progress(console: Console, plan: RoundPlan) -> Results:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=plan.run_count)

        def on_run(scenario: str, broker: str, outcome: Outcome | None) -> None:
            if outcome is None:
                progress.update(task, description=f"{scenario} · {broker}")
                return
            progress.advance(task)
            console.print(f"{scenario:18} {broker:10} {_summarise(outcome)}", highlight=False)

        return run_plan(plan, on_run)


def _has_failed(results: Results) -> bool:
    """Return whether a run of our own broker gave no numbers or was not exact."""
    return any(
        not outcome.is_unable if isinstance(outcome, Failure) else not outcome.tally.is_exact
        for (_, broker), outcomes in results.outcomes.items()
        if broker == OURS
        for outcome in outcomes
    )


def _summarise(outcome: Outcome) -> str:
    if isinstance(outcome, Failure):
        return f"- {outcome.reason}" if outcome.is_unable else f"failed: {outcome.reason}"
    numbers = ", ".join(f"{name} {format_number(value)}" for name, value in outcome.values.items())
    lost = f", LOST {outcome.tally.lost:,}" if outcome.tally.lost else ""
    bound = ", generator bound" if outcome.is_generator_bound else ""
    return numbers + lost + bound


def _describe_command(choice: Choice) -> str:
    """Return the command as others could give it: without folders and output files."""
    words = ["python", "-m", "benchmarks", *(["--quick"] if choice.quick else [])]
    for name in choice.scenarios:
        words += ["--only", name]
    for name in choice.brokers:
        words += ["--broker", name]
    for rival in choice.rivals:
        words += ["--rival", rival.partition("=")[0] + "=..."]
    if choice.rounds:
        words += ["--rounds", str(choice.rounds)]
    return shlex.join(words)


def main() -> int:
    """Run and return the exit code: 0 done, 1 our broker failed, 2 wrong options."""
    return run_command(app, "python -m benchmarks")


if __name__ == "__main__":
    sys.exit(main())
