"""Runs the conformance suites at hand against our broker and others, and prints the results.

Usage: python scripts/conformance.py [--failures] [--suite NAME ...] [--mosquitto PATH ...]
"""

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conformance.brokers import EVERYWHERE, Start, hecate, hecate_that_refuses, mosquitto
from tests.conformance.runs import SEQUENCES, SUITES, run_suite
from tests.conformance.suites import Outcome, SuiteMissing


def main() -> int:
    """Print a line for each suite and broker; return 1 when no suite is at hand."""
    options = _parse()
    print(f"{'suite':20} {'broker':28} {'passed':>7} {'exact':>7} {'total':>7}", flush=True)
    missing = 0
    for suite in options.suite or SUITES:
        for name, start in _brokers(suite, options.mosquitto).items():
            try:
                outcomes = run_suite(suite, start)
            except SuiteMissing as exc:
                print(f"{suite:20} left out: {exc}")
                missing += 1
                break
            _show(suite, name, outcomes, failures=options.failures)
    return 1 if missing == len(SUITES) else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--failures", action="store_true", help="name each case that failed")
    parser.add_argument("--suite", action="append", choices=SUITES, help="only this one")
    parser.add_argument("--mosquitto", action="append", help="path of another mosquitto")
    return parser.parse_args()


def _brokers(suite: str, paths: list[str] | None) -> dict[str, Start]:
    ours = hecate if suite == SEQUENCES else hecate_that_refuses
    found: dict[str, Start] = {"hecate": ours}
    installed = shutil.which("mosquitto") or shutil.which("mosquitto", path=":".join(EVERYWHERE))
    for path in [*([installed] if installed else []), *(paths or [])]:
        found[path] = mosquitto(path)
    return found


def _show(suite: str, broker: str, outcomes: list[Outcome], *, failures: bool) -> None:
    passed, exact = (sum(each.passed for each in outcomes), sum(each.exact for each in outcomes))
    print(f"{suite:20} {broker:28} {passed:7} {exact:7} {len(outcomes):7}", flush=True)
    if failures:
        for each in outcomes:
            if not each.passed:
                print(f"  {each.case}: {' '.join(each.why.split())}")


if __name__ == "__main__":
    sys.exit(main())
