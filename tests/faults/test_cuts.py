"""From every moment of a run, with what a power cut leaves on the disk, the promises are kept."""

import asyncio
import random

import pytest

from tests.faults.cuts import Moment, Recording, Trial, come_back_from_all
from tests.faults.events import Lost, Taken
from tests.share import SHARE, Count, choose, find_seed, part_of

STEPS = 150


def record(recording: Recording, steps: int) -> Recording:
    asyncio.run(recording.go(steps))
    check_load(recording, steps)
    return recording


def check_load(recording: Recording, steps: int) -> None:
    assert sum(type(event) is Taken for event in recording.history) > steps


def sample(recording: Recording, count: int) -> list[Moment]:
    return random.Random(1).sample(recording.moments, min(count, len(recording.moments)))


def check(recording: Recording, moments: list[Moment], *, with_wills: bool = False) -> list[Trial]:
    trials = asyncio.run(come_back_from_all(recording, moments, with_wills=with_wills))
    broken = [trial for trial in trials if trial.findings]
    told = [trial.describe() for trial in broken[:3]]
    assert not broken, f"{len(broken)} of {len(moments)} moments; " + "\n".join(told)
    return trials


def test_power_cuts_at_some_writes() -> None:
    recording = record(Recording(1), 60)
    check(recording, sample(recording, 40))


def cut_again(seed: int, firsts: int, count: int) -> int:
    """Return how many moments were tried."""
    tried = 0
    first = record(Recording(seed), 60)
    for moment in sample(first, firsts):
        second = Recording(seed, after=(first, moment))
        asyncio.run(second.go(30))
        tried += len(check(second, second.moments[:5] + sample(second, count)))
    return tried


def test_a_power_cut_after_a_power_cut() -> None:
    cut_again(3, firsts=2, count=10)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_power_cuts_after_power_cuts(record_property: Count) -> None:
    record_property("cuts", cut_again(find_seed(), firsts=part_of(15, least=3), count=40))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(10, 15))
def test_power_cuts_at_every_write(seed: int, record_property: Count) -> None:
    recording = record(Recording(seed), STEPS)
    assert len(recording.moments) > 250
    check_share(recording, record_property)


def check_share(recording: Recording, record_property: Count) -> None:
    # of one recording twice as many as of all: the share has the fewer recordings
    moments = choose(recording.moments, "moments", least=100, share=min(1, 2 * SHARE))
    check(recording, moments)
    record_property("cuts", len(moments))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_at_every_write_without_syncs(record_property: Count) -> None:
    check_share(record(Recording(20, "process", "os"), STEPS), record_property)


def test_wills_come_after_power_cuts() -> None:
    assert check_wills(Recording(30)) >= 20


def check_wills(recording: Recording) -> int:
    """Come back from moments after the last lost connection; return how many wills were due."""
    asyncio.run(recording.go(100, step_s=0.01, wills_at=20))
    check_load(recording, 100)
    last = recording.moments[-1].at
    lost = [
        event.at
        for event in recording.history
        if type(event) is Lost and event.client.startswith("mortal") and event.at < last
    ]
    late = [moment for moment in recording.moments if moment.at > max(lost)]
    trials = check(recording, random.Random(1).sample(late, 20), with_wills=True)
    return sum(trial.due_wills for trial in trials)


def test_a_disk_without_syncs_is_found_out() -> None:
    recording = record(Recording(2, "power", "os"), 60)
    # late ones: until then, much was acknowledged
    late = recording.moments[len(recording.moments) // 2 :]
    moments = random.Random(1).sample(late, 8)
    trials = asyncio.run(come_back_from_all(recording, moments, patience_s=2))
    assert "lost" in {finding.rule for trial in trials for finding in trial.findings}
