"""A broker killed again and again under load keeps its promises; without a disk it does not."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.checker import describe
from tests.faults.rounds import Outcome, Run
from tests.faults.subjects import MOSQUITTO_SAVES, Hecate, Mosquitto
from tests.peers import require
from tests.share import Count, find_seed, part_of

SEED = 20261123
ROUNDS = 200


def keep_promises(folder: Path, rounds: int, seed: int) -> Outcome:
    subject = Hecate(folder)
    outcome = asyncio.run(Run(subject, seed).go(rounds))
    assert not subject.troubles, subject.troubles[0]
    assert not outcome.findings, describe(outcome.findings)
    return outcome


def test_promises_survive_kills(tmp_path: Path) -> None:
    outcome = keep_promises(tmp_path, 5, SEED)
    assert outcome.acknowledged > 200
    assert outcome.received > outcome.acknowledged


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_promises_survive_many_kills(tmp_path: Path, record_property: Count) -> None:
    rounds = part_of(ROUNDS, least=30)
    outcome = keep_promises(tmp_path, rounds, find_seed())
    assert outcome.acknowledged > 20 * rounds
    record_property("kills", rounds)
    record_property("messages", outcome.acknowledged)


def test_a_broker_that_forgets_is_found_out(tmp_path: Path) -> None:
    run = Run(Hecate(tmp_path, "memory"), SEED)
    run.stage.patience_s = 2
    outcome = asyncio.run(run.go(2))
    assert {"session", "retained"} <= {finding.rule for finding in outcome.findings}


def mosquitto(folder: Path, setting: str) -> Mosquitto:
    require("mosquitto")
    folder.chmod(0o777)
    return Mosquitto(folder, MOSQUITTO_SAVES[setting])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_another_broker_that_forgets_is_found_out(tmp_path: Path) -> None:
    """Mosquitto as it is by default saves every 30 minutes and when it ends."""
    outcome = asyncio.run(Run(mosquitto(tmp_path, "default"), SEED).go(3))
    assert {"session", "retained"} <= {finding.rule for finding in outcome.findings}
