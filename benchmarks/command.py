"""Runs the command of a benchmark as a program."""

import signal
import sys
from typing import NoReturn

import typer

from benchmarks.errors import BenchmarkError


def _end_by_signal(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)  # so that the programs that run are ended on the way out


def run_command(app: typer.Typer, name: str) -> int:
    """Run a command; return the exit code: 0 done, 1 it failed, 2 wrong options."""
    signal.signal(signal.SIGTERM, _end_by_signal)
    try:
        app(prog_name=name)
    except BenchmarkError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    return 0
