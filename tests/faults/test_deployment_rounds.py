"""A gateway killed at random moments of deployments runs the last good version, or the new one."""

from pathlib import Path

import pytest

from tests.faults.deployment_rounds import DeploymentOutcome, DeploymentRounds
from tests.share import SHARE, Count, find_seed

SEED = 20261130
ROUNDS, ROUNDS_IN_CI = 1000, 60


def keep_running(folder: Path, rounds: int, seed: int) -> DeploymentOutcome:
    run = DeploymentRounds(folder, seed)
    outcome = run.go(rounds)
    assert not outcome.findings, f"seed {seed}: {outcome.findings[0]}"
    assert outcome.kills == rounds
    return outcome


# case S18
def test_a_killed_gateway_runs_the_last_good_version_or_the_new_one(tmp_path: Path) -> None:
    keep_running(tmp_path, 2, SEED)


# case S18
@pytest.mark.slow
@pytest.mark.whole_in_any_share
@pytest.mark.timeout(3600)
def test_a_gateway_killed_many_times_never_comes_back_without_the_container(
    tmp_path: Path, record_property: Count
) -> None:
    rounds = ROUNDS if SHARE == 1 else ROUNDS_IN_CI
    outcome = keep_running(tmp_path, rounds, find_seed())
    assert 0 < outcome.acknowledged < rounds, "kills come before and after the answer"
    record_property("kills", outcome.kills)
    record_property("acknowledged", outcome.acknowledged)
    record_property("longest ms from start to answer", int(outcome.longest_s * 1000))
