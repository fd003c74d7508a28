"""Queues near their bounds lose nothing that was acknowledged: over reloads, expiry and kills."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.checker import describe
from tests.faults.queues import QueueRun, Shares, make_subject
from tests.share import Count, find_seed, part_of

RELOADS = Shares(kills=0.2, reloads=0.9, expiring=0.0)
EXPIRY = Shares(kills=0.0, reloads=0.0, expiring=1.0)
NO_KILLS = Shares(kills=0.0, reloads=0.7, expiring=0.5)


def keep_promises(folder: Path, rounds: int, seed: int, shares: Shares, durability: str) -> None:
    subject = make_subject(folder, durability)
    run = QueueRun(subject, seed, shares)
    findings = asyncio.run(run.go(rounds))
    assert not subject.troubles, subject.troubles[0]
    assert not findings, describe(findings)


@pytest.mark.slow
@pytest.mark.whole_in_any_share
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("shares", "seed", "durability"),
    [
        pytest.param(RELOADS, 2, "synced", id="reloads"),  # case B9
        pytest.param(EXPIRY, 1, "synced", id="expiry"),  # case B6
        pytest.param(NO_KILLS, 1, "memory", id="in memory"),
    ],
)
def test_what_was_acknowledged_is_not_dropped(
    tmp_path: Path, shares: Shares, seed: int, durability: str
) -> None:
    keep_promises(tmp_path, 10, seed, shares, durability)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("durability", ["synced", "os"])
def test_many_rounds(tmp_path: Path, durability: str, record_property: Count) -> None:
    rounds = part_of(100, least=15)
    keep_promises(tmp_path, rounds, find_seed(), Shares(), durability)
    record_property("rounds with full queues", rounds)
