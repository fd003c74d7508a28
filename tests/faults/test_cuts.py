"""From every moment of a run, with what a power cut leaves on the disk, the promises are kept."""

import asyncio
import random

import pytest

from tests.faults.checker import describe
from tests.faults.cuts import Moment, Recording, come_back_from_all
from tests.faults.events import Taken

STEPS = 150


def record(recording: Recording, steps: int) -> Recording:
    asyncio.run(recording.go(steps))
    assert sum(type(event) is Taken for event in recording.history) > steps
    return recording


def sample(recording: Recording, count: int) -> list[Moment]:
    return random.Random(1).sample(recording.moments, min(count, len(recording.moments)))


def check(recording: Recording, moments: list[Moment], *, with_wills: bool = False) -> None:
    broken = asyncio.run(come_back_from_all(recording, moments, with_wills=with_wills))
    told = [
        f"operation {moment.operation}, event {moment.length}:\n{describe(findings)}"
        for moment, findings in broken
    ]
    assert not told, f"{len(told)} of {len(moments)} moments; " + "\n".join(told[:3])


def test_power_cuts_at_some_writes() -> None:
    recording = record(Recording(1), 60)
    check(recording, sample(recording, 40))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(10, 15))
def test_power_cuts_at_every_write(seed: int) -> None:
    recording = record(Recording(seed), STEPS)
    assert len(recording.moments) > 250
    check(recording, recording.moments)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_at_every_write_without_syncs() -> None:
    recording = record(Recording(20, "process", "os"), STEPS)
    check(recording, recording.moments)


@pytest.mark.timeout(120)
def test_wills_come_after_power_cuts() -> None:
    recording = record(Recording(30), 2 * STEPS)
    late = [moment for moment in recording.moments if moment.length > len(recording.history) // 3]
    check(recording, random.Random(1).sample(late, 30), with_wills=True)


def test_a_disk_without_syncs_is_found_out() -> None:
    recording = record(Recording(2, "power", "os"), 60)
    broken = asyncio.run(come_back_from_all(recording, sample(recording, 24)))
    assert "lost" in {finding.rule for _, findings in broken for finding in findings}
