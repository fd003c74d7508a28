"""Runs a suite against a broker, in programs of their own, and returns the outcomes."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.brokers import HOST, Start
from tests.conformance.suites import MOSQUITTO, PAHO, Outcome, decode_outcomes, find_suite
from tests.programs import PATIENCE, ROOT

PAHO_3, PAHO_5, SEQUENCES = "Paho 3.1.1", "Paho 5.0", "Mosquitto sequences"
SUITES = (PAHO_3, PAHO_5, SEQUENCES)

CASE_TIMEOUT_S = 120.0  # the longest of Paho's cases sleeps for 60 s
SEQUENCES_TIMEOUT_S = 600.0  # each that gets no answer takes 2 s
TRIES = 2  # Paho's client misses an acknowledgement that comes just when it wants to leave
LANES = 8  # Paho's cases sleep: many at a time, each with a broker of its own

_FILES = {PAHO_3: "client_test.py", PAHO_5: "client_test5.py"}


def run_suite(suite: str, start: Start, cases: Sequence[str] = ()) -> list[Outcome]:
    """Run all cases of a suite, or some, each against a broker in the state it expects."""
    if suite == SEQUENCES:
        file = find_suite(MOSQUITTO) / "test/broker/msg_sequence_test.py"
        with start() as port:
            return _run("sequence_runner", file, port, cases, SEQUENCES_TIMEOUT_S)
    file = find_suite(PAHO) / "interoperability" / _FILES[suite]
    with ThreadPoolExecutor(LANES) as lanes:
        outcomes = lanes.map(lambda case: _run_case(file, start, case), cases or cases_of(file))
        return [outcome for each in outcomes for outcome in each]


def cases_of(file: Path) -> list[str]:
    """Return the test methods of one of Paho's suites."""
    return list(_test_methods(ast.parse(file.read_text())))


def _test_methods(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name


def _run_case(file: Path, start: Start, case: str) -> list[Outcome]:
    for _ in range(TRIES):
        with start() as port:
            outcomes = _run("paho_runner", file, port, [case], CASE_TIMEOUT_S)
        if outcomes and all(each.passed for each in outcomes):
            break
    return outcomes or [Outcome(case, False, False, "it did not come to an end")]


def _run(
    runner: str, file: Path, port: int, cases: Sequence[str], timeout_s: float
) -> list[Outcome]:
    command = [sys.executable, "-m", f"tests.conformance.{runner}", str(file), HOST, str(port)]
    with subprocess.Popen(
        [*command, *cases],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            out, _ = process.communicate(timeout=timeout_s * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
    return list(decode_outcomes(out.splitlines()))
