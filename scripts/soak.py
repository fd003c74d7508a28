"""Runs all slow tests and writes docs/soak.md: each test, its rounds and its outcome.

Tests tell their numbers by pytest's record_property; those of one test are added up.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.share import find_seed  # noqa: E402  # a script's own folder is the path otherwise

FUZZ_S = 120  # of each target
PARALLEL = ("-n", "2", "--dist", "load", "--maxschedchunk", "1", "--timeout", "3600")
NUMBERS = ("-o", "junit_family=xunit1")  # the one that can hold what tests count
RUNS = (("-m", "slow"), ("tests/properties", "-m", "not slow"))
PAGE = """# The long run

`make test-soak` writes this page. It runs every slow test whole: all kills, all cut points, all
attacks, long fuzzing, and the properties with 1,500 examples each. `make test-slow` runs a share
of the same tests ([CONTRIBUTING](../CONTRIBUTING.md)).

| | |
|---|---|
{head}

| test | cases | failed | skipped | seconds | numbers |
|---|--:|--:|--:|--:|---|
{rows}
"""


@dataclass
class SoakRow:
    """All cases of one test, or of one file."""

    cases: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    numbers: Counter[str] = field(default_factory=Counter)

    def add(self, case: ElementTree.Element) -> None:
        """Count one more case."""
        self.cases += 1
        self.failed += case.find("failure") is not None or case.find("error") is not None
        self.skipped += case.find("skipped") is not None
        self.seconds += float(case.get("time", "0"))
        for each in case.iter("property"):
            self.numbers[each.get("name", "")] += int(each.get("value", "0"))

    def write(self, name: str) -> str:
        """Return the line of the table."""
        numbers = ", ".join(f"{count:,} {what}" for what, count in self.numbers.items())
        counts = f"{self.cases} | {self.failed} | {self.skipped} | {self.seconds:.0f}"
        return f"| {name} | {counts} | {numbers} |"


def collect(reports: Iterable[Path]) -> dict[str, SoakRow]:
    """Read what pytest has written; a row for each slow test, one for each folder of properties."""
    rows: dict[str, SoakRow] = {}
    for path in reports:
        for case in ElementTree.parse(path).iter("testcase"):  # noqa: S314  # written by pytest
            rows.setdefault(_name(case), SoakRow()).add(case)
    return dict(sorted(rows.items()))


def _name(case: ElementTree.Element) -> str:
    module = case.get("classname", "")
    if module.startswith("tests.properties."):
        return f"`{'/'.join(module.split('.')[:3])}`"
    return f"`{module.replace('.', '/')}.py`: {case.get('name', '').partition('[')[0]}"


def main() -> int:
    """Run, write, and return 1 when a test has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "soak.md")
    parser.add_argument("--share", default="1", help="the share of the slow tests, from 0 to 1")
    parser.add_argument("--fuzz", type=int, default=FUZZ_S, help="seconds for each target")
    options = parser.parse_args()
    environ = {
        **os.environ, "HYPOTHESIS_PROFILE": "slow", "HECATE_TEST_SHARE": options.share,
        "HECATE_FUZZ_S": str(options.fuzz),
    }  # fmt: skip
    began, code = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        reports = [Path(folder, f"{number}.xml") for number in range(len(RUNS))]
        for report, what in zip(reports, RUNS, strict=True):
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                *what,
                *PARALLEL,
                f"--junitxml={report}",
                *NUMBERS,
            ]
            code |= subprocess.run(command, env=environ, cwd=ROOT, check=False).returncode
        rows = collect(reports)
    head = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _git("rev-parse", "--short", "HEAD"),
        "seed": str(find_seed()),
        "command": f"`scripts/soak.py --share {options.share} --fuzz {options.fuzz}`",
        "processors": str(os.cpu_count()),
        "minutes": f"{(time.monotonic() - began) / 60:.0f}",
        "failed": str(sum(row.failed for row in rows.values())),
    }
    options.into.write_text(
        PAGE.format(
            head="\n".join(f"| {name} | {value} |" for name, value in head.items()),
            rows="\n".join(row.write(name) for name, row in rows.items()),
        )
    )
    return 1 if code else 0


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not known"


if __name__ == "__main__":
    sys.exit(main())
