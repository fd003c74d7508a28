"""Targets of microservices are judged by the median; what is beyond the peak is found."""

import json
from datetime import UTC, datetime

import pytest

from benchmarks.measure import Failure
from benchmarks.report import Circumstances
from benchmarks.services.figures import (
    NODE_RED,
    PYTHON,
    ServiceResults,
    ServiceScenario,
    ServiceTarget,
    beyond_peak,
    judge_services,
)
from benchmarks.services.report import render_services, services_json

SCENARIO = ServiceScenario(
    "latency",
    "There and back",
    (PYTHON, NODE_RED),
    lambda _subject, _size: {},
    (ServiceTarget(PYTHON, "p50", 200), ServiceTarget(PYTHON, "rate", 0.9, at_least=True)),
)
CIRCUMSTANCES = Circumstances(
    {"processor": "fast"},
    "python -m benchmarks.services",
    datetime(2026, 1, 2, tzinfo=UTC),
    5,
    False,
)


def results(*p50: float) -> ServiceResults:
    made = ServiceResults()
    for value in p50:
        made.add("latency", PYTHON, {"p50": value})
    return made


@pytest.mark.parametrize(("values", "met"), [((100, 150, 900), True), ((100, 201, 300), False)])
def test_the_median_of_the_rounds_is_judged(values: tuple[float, ...], met: bool) -> None:
    first, second = judge_services([SCENARIO], results(*values))
    assert first.is_met is met
    assert second.is_met is None  # not measured


def test_a_rate_must_not_be_lower_than_its_target() -> None:
    target = ServiceTarget(PYTHON, "rate", 0.9, at_least=True)
    assert (target.is_met(0.9), target.is_met(0.89)) == (True, False)


def test_what_is_handled_beyond_the_peak_is_compared_with_it() -> None:
    handled = {2_000: 2_000.0, 5_000: 4_000.0, 8_000: 3_000.0, 12_000: 3_900.0}
    assert beyond_peak(handled) == (4_000, 0.75)  # 2,000 is below the capacity
    assert beyond_peak({100: 0.0}) == (0, 0)


def test_a_failure_of_ours_fails_the_run_and_that_of_a_rival_does_not() -> None:
    made = results(100)
    made.add("latency", NODE_RED, Failure("it is not installed", is_unable=True))
    made.add("latency", NODE_RED, Failure("it crashed"))
    assert not made.has_failed()
    made.add("latency", PYTHON, Failure("it crashed"))
    assert made.has_failed()


def test_the_report_has_the_machine_the_targets_and_the_range_of_each_number() -> None:
    made = results(100, 150, 900)
    made.add("latency", NODE_RED, Failure("it is not installed", is_unable=True))
    text = render_services([SCENARIO], made, CIRCUMSTANCES, 3, ["Node-RED: 4"])
    assert "- processor: fast" in text
    assert "- Node-RED: 4" in text
    assert "2026-01-02" in text
    assert "| latency | python | p50 | ≤ 200 | 150 (100 to 900) | met |" in text
    assert "| latency | python | rate | ≥ 0.90 | - | not measured |" in text
    assert "| p50 | 150 (100 to 900) | - |" in text
    assert "node-red: 1 without numbers: it is not installed." in text


def test_the_json_has_every_round() -> None:
    found = json.loads(services_json([SCENARIO], results(100, 150), CIRCUMSTANCES))
    assert [each["values"] for each in found["rounds"]] == [{"p50": 100}, {"p50": 150}]
    assert found["targets"][0]["met"] is True
