"""Chooses the share of the slow tests that one run executes, by a seed.

`make test-slow` runs a share that is enough to notice a regression, `make test-soak` runs all:

- of a slow test with many parameters, the share of its cases, at least one;
- a slow test that counts something asks part_of() how much of it to do.

A test marked whole_in_any_share keeps all its cases.

HECATE_TEST_SHARE is the share, from 0 to 1. HECATE_TEST_SEED decides which cases are in it; by
default it is made of the commit's id, so that every commit is tested by cases of its own, and the
same commit by the same ones. The end of each run's output names both.
"""

import os
import random
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
Count = Callable[[str, object], None]  # record_property: make test-soak writes it into docs/soak.md

ROOT = Path(__file__).resolve().parent.parent
SHARE = float(os.environ.get("HECATE_TEST_SHARE", "1"))


def find_seed() -> int:
    """Return the seed, and keep it for the processes that run the tests."""
    if "HECATE_TEST_SEED" not in os.environ:
        os.environ["HECATE_TEST_SEED"] = str(_read_commit())
    return int(os.environ["HECATE_TEST_SEED"])


def _read_commit() -> int:
    command = ["git", "rev-parse", "--short=8", "HEAD"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # not a clone
        return 1
    return int(done.stdout.strip()[:8], 16)


def part_of(whole: int, least: int = 1, share: float = SHARE) -> int:
    """Return how many of so many are in the share, at least so many."""
    return min(whole, max(least, round(whole * share)))


def seconds_of(whole: int, short: int, share: float = SHARE) -> int:
    """Return how long a test waits for nothing to happen: the whole time in whole runs only."""
    return whole if share == 1 else short


def choose(cases: Sequence[T], name: str, least: int = 1, share: float = SHARE) -> list[T]:
    """Return the share of the cases in their order; the name and the seed decide which."""
    chance = random.Random(f"{find_seed()} {name}")
    places = chance.sample(range(len(cases)), part_of(len(cases), least, share))
    return [cases[place] for place in sorted(places)]


def leave_out(items: Iterable[pytest.Item], share: float = SHARE) -> list[pytest.Item]:
    """Return the cases of slow tests that are not in the share."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("whole_in_any_share"):
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out = []
    for name, cases in tests.items():
        chosen = set(choose(cases, name, share=share))
        left_out += [case for case in cases if case not in chosen]
    return left_out


def order_by_length(items: list[pytest.Item]) -> None:
    """Put the slow tests that may take long first, so that no process waits for the last one."""
    items.sort(key=_longest_s, reverse=True)


def _longest_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    if item.get_closest_marker("slow") is None or marker is None or not marker.args:
        return 0.0
    return float(marker.args[0])
