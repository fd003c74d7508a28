"""The command line: `python -m benchmarks`."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.brokers import OURS, ROOT, Broker, find_brokers, parse_broker
from benchmarks.errors import BenchmarkError, ChoiceError
from benchmarks.machine import choose_cores, describe_machine, raise_file_limit
from benchmarks.measure import Failure, Outcome, Timing
from benchmarks.report import Circumstances, print_report, render_json, render_markdown
from benchmarks.rounds import Plan, Results, run_plan
from benchmarks.scenarios import BY_NAME, SCENARIOS, Scenario, Size
from benchmarks.verdict import format_number

DOCUMENT = ROOT / "docs" / "benchmarks.md"
QUICK_BROKERS = (OURS, "mosquitto")

FULL = Timing(warm_up_s=0.5, measure_s=2.0)
QUICK = Timing(warm_up_s=0.2, measure_s=0.5)
FULL_ROUNDS, QUICK_ROUNDS = 5, 3
FULL_SIZE, QUICK_SIZE = Size(connections=10_000), Size(connections=1_000)

EPILOG = "\n\n".join(
    [
        "Scenarios (those with * are run unless you choose):",
        *(f"{'*' if each.is_default else ' '} {each.name}: {each.title}" for each in SCENARIOS),
        "Brokers: Hecate, and of mosquitto, nats-server, aedes (npm; found through NODE_PATH) and "
        "amqtt (PyPI) those that are installed. Add any other by its command. {port} becomes the "
        "port to listen on, {dir} a folder for its files, {mosquitto_conf} a configuration file.",
        "Examples:",
        "  python -m benchmarks --quick",
        "  python -m benchmarks --scenario latency_10k --broker hecate --broker mosquitto",
        "  python -m benchmarks --broker hecate --broker 'new=./mosquitto -c {mosquitto_conf}'",
    ]
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line asks for."""

    quick: bool
    scenarios: Sequence[str]
    brokers: Sequence[str]
    rounds: int | None


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EPILOG)
def bench(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Short rounds, Hecate and mosquitto only: a minute, noisy."),
    ] = False,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Run this scenario, or `all`; repeatable.")
    ] = None,
    broker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|NAME=COMMAND", help="Run this broker only, or add one; repeatable."
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=100, help="Rounds for each.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the report here; a full run of all brokers found writes docs/benchmarks.md."
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
    choice = Choice(quick, scenario or [], broker or [], rounds)
    if out is None and not (quick or choice.brokers or choice.scenarios not in ([], ["all"])):
        out = DOCUMENT
    plan = make_plan(choice, find_brokers())
    console = Console()
    raise_file_limit()
    load = os.getloadavg()[0]
    machine, started, clock = describe_machine(), datetime.now(UTC), time.monotonic()
    os.sched_setaffinity(0, {plan.cores.generator})
    results = _run_with_progress(console, plan)
    circumstances = Circumstances(
        machine, _describe_command(choice), started, time.monotonic() - clock, quick, load
    )
    print_report(console, plan, results)
    if out is not None:
        out.write_text(render_markdown(plan, results, circumstances))
    if json_file is not None:
        json_file.write_text(render_json(plan, results, circumstances))
    if _has_failed(results):
        raise typer.Exit(1)


def make_plan(choice: Choice, found: Sequence[Broker]) -> Plan:
    """Return what to run; raise ChoiceError for names that mean nothing."""
    return Plan(
        scenarios=_choose_scenarios(choice.scenarios),
        brokers=_choose_brokers(choice, found),
        rounds=choice.rounds or (QUICK_ROUNDS if choice.quick else FULL_ROUNDS),
        timing=QUICK if choice.quick else FULL,
        size=QUICK_SIZE if choice.quick else FULL_SIZE,
        cores=choose_cores(),
    )


def _choose_scenarios(names: Sequence[str]) -> list[Scenario]:
    if not names:
        return [each for each in SCENARIOS if each.is_default]
    if "all" in names:
        return list(SCENARIOS)
    if unknown := [name for name in names if name not in BY_NAME]:
        known = ", ".join(BY_NAME)
        raise ChoiceError(f"cannot run scenario {unknown[0]}: no such name; known: {known}")
    return [BY_NAME[name] for name in names]


def _choose_brokers(choice: Choice, found: Sequence[Broker]) -> list[Broker]:
    added = [parse_broker(text) for text in choice.brokers if "=" in text]
    wanted = [name for name in choice.brokers if "=" not in name]
    by_name = {each.name: each for each in found}
    if missing := [name for name in wanted if name not in by_name]:
        raise ChoiceError(f"cannot run broker {missing[0]}: not found; found: {', '.join(by_name)}")
    if not wanted:
        wanted = [name for name in by_name if not choice.quick or name in QUICK_BROKERS]
    chosen = [by_name[name] for name in wanted] + added
    if len({each.name for each in chosen}) != len(chosen):
        raise ChoiceError("cannot run the same broker twice: give each another name")
    return chosen


def _run_with_progress(console: Console, plan: Plan) -> Results:
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
        isinstance(outcome, Failure) or not outcome.tally.is_exact
        for (_, broker), outcomes in results.outcomes.items()
        if broker == OURS
        for outcome in outcomes
    )


def _summarise(outcome: Outcome) -> str:
    if isinstance(outcome, Failure):
        return f"failed: {outcome.reason}"
    numbers = ", ".join(f"{name} {format_number(value)}" for name, value in outcome.values.items())
    lost = f", LOST {outcome.tally.lost:,}" if outcome.tally.lost else ""
    return numbers + lost


def _describe_command(choice: Choice) -> str:
    """Return the command as others could give it: without folders and output files."""
    words = ["python", "-m", "benchmarks", *(["--quick"] if choice.quick else [])]
    for name in choice.scenarios:
        words += ["--scenario", name]
    for broker in choice.brokers:
        name, added, _ = broker.partition("=")
        words += ["--broker", name + ("=..." if added else "")]
    if choice.rounds:
        words += ["--rounds", str(choice.rounds)]
    return shlex.join(words)


def _end_by_signal(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)  # so that the broker that runs is ended on the way out


def main() -> int:
    """Run and return the exit code: 0 done, 1 our broker failed, 2 wrong options."""
    signal.signal(signal.SIGTERM, _end_by_signal)
    try:
        app(prog_name="python -m benchmarks")
    except BenchmarkError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
