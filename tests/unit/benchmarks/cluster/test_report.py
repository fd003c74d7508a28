from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from benchmarks.cluster.__main__ import _choose
from benchmarks.cluster.figures import (
    ClusterResults,
    ClusterScenario,
    ClusterSize,
    ClusterTarget,
    Judgement,
    judge_cluster,
)
from benchmarks.cluster.report import cluster_json, render_cluster
from benchmarks.cluster.scenarios import CLUSTER_SCENARIOS
from benchmarks.errors import ChoiceError
from benchmarks.measure import Failure
from benchmarks.report import Circumstances

WHEN = datetime(2026, 11, 30, tzinfo=UTC)


def measure(_size: ClusterSize) -> Mapping[str, list[float]]:
    raise NotImplementedError


SCENARIOS = [
    ClusterScenario("kill", "", measure, [ClusterTarget("ms", 100)]),
    ClusterScenario("call", "", measure, [ClusterTarget("ms", 3, Judgement.MEDIAN)]),
    ClusterScenario("cable", "", measure, [ClusterTarget("ms", 5)]),
]
RESULTS: ClusterResults = {
    "kill": {"ms": [40.0, 50.0, 101.0]},
    "call": {"ms": [1.0, 2.0, 90.0]},
    "cable": Failure("cannot measure: needs root", is_unable=True),
}


def circumstances(load: float = 0.0) -> Circumstances:
    return Circumstances({"processor": "two"}, "python -m x", WHEN, 12.0, False, load)


def test_the_worst_counts_unless_the_median_is_asked_for() -> None:
    judged = {each.scenario: each for each in judge_cluster(SCENARIOS, RESULTS)}
    assert (judged["kill"].measured, judged["kill"].is_met) == (101.0, False)
    assert (judged["call"].measured, judged["call"].is_met) == (2.0, True)
    assert (judged["cable"].measured, judged["cable"].is_met) == (None, None)


def test_the_report_has_every_number_and_why_there_is_none() -> None:
    text = render_cluster(SCENARIOS, RESULTS, circumstances(3.0), ClusterSize())
    assert "| kill | ms | 50.0 | 40.0 | 101 | 3 |" in text
    assert "| kill | ms | worst | ≤ 100 | 101 | missed |" in text
    assert "cannot measure: needs root" in text
    assert "other programs were running" in text
    assert "other programs" not in render_cluster(
        SCENARIOS, RESULTS, circumstances(), ClusterSize()
    )
    assert '"failed": "cannot measure: needs root"' in cluster_json(RESULTS, circumstances())


def test_scenarios_are_chosen_by_name() -> None:
    assert _choose([]) == CLUSTER_SCENARIOS
    assert [each.name for each in _choose(["calls"])] == ["calls"]
    with pytest.raises(ChoiceError, match="cannot run scenario nope"):
        _choose(["nope"])
