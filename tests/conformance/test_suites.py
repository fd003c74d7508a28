"""Other people's suites against our broker: nothing fails but what known.py explains."""

import re

import pytest

from tests.conformance.brokers import (
    Start,
    hecate,
    hecate_that_refuses,
    hecate_that_refuses_and_stores,
    hecate_that_stores,
)
from tests.conformance.known import LAWFUL
from tests.conformance.runs import PAHO_3, PAHO_5, SEQUENCES, run_suite
from tests.conformance.suites import Outcome, SuiteMissing

SIZES = {PAHO_3: 9, PAHO_5: 27, SEQUENCES: 1_800}  # at least so many cases; fewer is our fault


@pytest.mark.slow
@pytest.mark.whole_in_any_share
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("suite", "start"),
    [
        (SEQUENCES, hecate),
        (PAHO_3, hecate_that_refuses),
        (PAHO_5, hecate_that_refuses),
        (SEQUENCES, hecate_that_stores),
        (PAHO_3, hecate_that_refuses_and_stores),  # case B1
        (PAHO_5, hecate_that_refuses_and_stores),
    ],
    ids=[
        *(SEQUENCES, PAHO_3, PAHO_5),
        *(f"{SEQUENCES}, stored", f"{PAHO_3}, stored", f"{PAHO_5}, stored"),
    ],
)
def test_suite(suite: str, start: Start) -> None:
    try:
        outcomes = run_suite(suite, start)
    except SuiteMissing as exc:
        pytest.skip(str(exc))
    failures = [each for each in outcomes if not each.passed]
    assert len(outcomes) >= SIZES[suite]
    known = LAWFUL.get(suite, {})
    stale = [each for each in known if not any(re.search(each, it.case) for it in failures)]
    faults = _unexplained(failures, known) + [f"passes now, take it off: {it}" for it in stale]
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


def _unexplained(failures: list[Outcome], known: dict[str, str]) -> list[str]:
    return [
        f"{each.case}: {each.why}"
        for each in failures
        if not any(re.search(pattern, each.case) for pattern in known)
    ]
