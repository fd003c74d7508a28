"""A disk that forgets: at every write of a run, what was said to be safe is, in order."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from broker.journal import Journal, JournalLimits, JournalState
from broker.journal.records import Acknowledged, Opened, QueueEntry, Record, Stored, WillDelayed
from tests.integration.broker.journal.model import History, describe
from tests.integration.broker.journal.simdisk import SimDisk, Snapshot
from tests.share import Count

HERE = Path("journal")
LIMITS = JournalLimits(segment_bytes=4096, interval_s=0.0, lazy_s=0.001, retry_s=0.001)


class Run:
    """One recorded run: cut points, each with how many groups had been said to be safe."""

    def __init__(self, seed: int, per_cut: int, durability: Any = "synced") -> None:
        self.groups: list[list[Record]] = []
        self.safe = 0
        self.cuts: list[tuple[int, Snapshot]] = []
        self.killed: list[tuple[int, Snapshot]] = []
        self.chance = random.Random(seed)
        self.history = History(seed)
        self.disk = SimDisk()
        self.disk.on_operation = self._cut
        self._per_cut = per_cut
        self._journal = Journal(HERE, durability, disk=self.disk, limits=LIMITS)

    def _cut(self) -> None:
        for _ in range(self._per_cut):
            self.cuts.append((self.safe, self.disk.cut(self.chance)))
        self.killed.append((self.safe, self.disk.kill()))

    async def go(self, groups: int) -> None:
        journal = self._journal
        journal.open()
        journal.start()
        for _ in range(groups):
            records, waits = self.history.group()
            self.groups.append(records)
            journal.append(records, self._done(len(self.groups)) if waits else None)
            if self.chance.random() < 0.3:
                await asyncio.sleep(0)
            if self.chance.random() < 0.1:
                await self._settle()
        await journal.close()
        assert self.safe or not groups

    async def _settle(self) -> None:
        for _ in range(1000):
            if not self._journal.status().queued_bytes:
                return
            await asyncio.sleep(0.0005)

    def _done(self, number: int) -> Any:
        def done(ok: bool) -> None:
            assert ok
            self.safe = max(self.safe, number)

        return done


def recover(snapshot: Snapshot) -> dict[str, Any]:
    journal = Journal(HERE, disk=SimDisk.of(snapshot), limits=LIMITS)
    image, report = journal.open()
    assert not report.damages, "a power cut is not a damage"
    return describe(image)


def states_of(groups: list[list[Record]]) -> list[dict[str, Any]]:
    image = JournalState()
    image.settle()
    states = [describe(image)]
    for records in groups:
        for record in records:
            image.apply(record, 1)
        states.append(describe(image))
    return states


def check(run: Run, points: list[tuple[int, Snapshot]]) -> int:
    """Every point must give the state after k groups, k no less than what was safe."""
    states = states_of(run.groups)
    for safe, snapshot in points:
        found = recover(snapshot)
        assert any(found == state for state in states[safe:]), "not a state there ever was"
    return len(points)


@pytest.mark.parametrize("seed", range(3))
def test_power_cut_at_every_write(seed: int) -> None:
    run = Run(seed, per_cut=2)
    asyncio.run(run.go(300))
    assert run.disk.written > 5 * LIMITS.segment_bytes, "segments must have been removed"
    assert check(run, run.cuts) > 250


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(100, 110))
def test_power_cut_at_every_write_of_long_runs(seed: int, record_property: Count) -> None:
    run = Run(seed, per_cut=4)
    asyncio.run(run.go(1500))
    cuts = check(run, run.cuts)
    assert cuts > 2000
    record_property("cuts", cuts)


@pytest.mark.parametrize("seed", range(2))
def test_os_durability_survives_the_death_of_the_process_at_every_write(seed: int) -> None:
    run = Run(seed, per_cut=0, durability="os")
    asyncio.run(run.go(300))
    check(run, run.killed)


def test_os_durability_leaves_a_state_there_was_after_a_power_cut() -> None:
    run = Run(5, per_cut=1, durability="os")
    asyncio.run(run.go(300))
    check(run, [(0, snapshot) for _, snapshot in run.cuts])


def test_cut_after_cut_gives_the_same_again() -> None:
    run = Run(9, per_cut=1)
    asyncio.run(run.go(300))
    for _, snapshot in run.cuts[::7]:
        disk = SimDisk.of(snapshot)
        first, _ = Journal(HERE, disk=disk, limits=LIMITS).open()
        again = SimDisk.of(disk.kill())
        second, _ = Journal(HERE, disk=again, limits=LIMITS).open()
        assert describe(first) == describe(second)


@pytest.mark.parametrize("seed", [11, 12])
def test_goes_on_after_a_cut(seed: int) -> None:
    assert go_on_after_cuts(Run(seed, per_cut=1), every=25) > 5


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(200, 205))
def test_goes_on_after_every_cut(seed: int, record_property: Count) -> None:
    record_property("cuts", go_on_after_cuts(Run(seed, per_cut=1), every=1))


@pytest.mark.parametrize("is_first", [True, False])
def test_a_segment_that_a_cut_left_without_a_head_is_no_damage_later(*, is_first: bool) -> None:
    """Neither then nor when the manifest has moved beyond it, whatever is cut or killed next."""
    run = Run(3, per_cut=0)
    asyncio.run(run.go(0 if is_first else 100))
    snapshot = run.disk.kill()
    last = max((name for name in snapshot if name.endswith(".log")), default="0000000000")
    snapshot[f"{int(last[:10]) + 1:010}-{'ab' * 8}.log"] = bytes(LIMITS.segment_bytes)
    seen: list[Snapshot] = []

    async def go_on() -> None:
        disk = SimDisk.of(snapshot)
        journal = Journal(HERE, disk=disk, limits=LIMITS)
        disk.on_operation = lambda: seen.extend((disk.kill(), disk.cut(run.chance)))
        assert journal.open()[1].is_clean
        journal.start()
        for _ in range(100):
            journal.append(run.history.group()[0])
        await journal.close()

    asyncio.run(go_on())
    for each in seen:
        recover(each)


def go_on_after_cuts(run: Run, every: int) -> int:
    """Write more behind some of its cuts and read that; return how many there were."""

    async def go_on(snapshot: Snapshot) -> None:
        disk = SimDisk.of(snapshot)
        journal = Journal(HERE, disk=disk, limits=LIMITS)
        image, _ = journal.open()
        before = describe(image)
        history = History(1)
        history.image = image_of(before, image)
        history._next_session, history._next_message = (
            image.next_session_id,
            image.next_message_id,
        )
        journal.start()
        for _ in range(60):
            records, _ = history.group()
            journal.append(records)
        await journal.close()
        assert recover(disk.kill()) == describe(history.image)

    asyncio.run(run.go(300))
    cuts = run.cuts[::every]
    for _, snapshot in cuts:
        asyncio.run(go_on(snapshot))
    return len(cuts)


def test_a_will_is_there_however_often_it_and_its_session_were_copied() -> None:
    """They begin in segments 1 and 2, so they are copied at different times."""
    disk = SimDisk()

    async def run() -> None:
        journal = Journal(HERE, disk=disk, limits=LIMITS)
        journal.open()
        journal.start()
        for number in range(1, 600):
            message = Stored(number, "t", bytes(60), entries=(QueueEntry(1, 1),))
            records: list[Record] = [message, Acknowledged(1, (number,))]
            if number == 1:
                records = [Opened(1, "c", "owner", (), 5, 60.0)]
            elif number == 40:
                records = [WillDelayed(1, number, 5.0), message._replace(entries=())]
            safe: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            journal.append(records, safe.set_result)
            assert await safe
            if number >= 40:
                will = recover(disk.kill())["sessions"]["c"][-1]
                assert will is not None, f"lost after {number} messages"
        await journal.close()

    asyncio.run(run())
    assert disk.written > 20 * LIMITS.segment_bytes


def image_of(before: dict[str, Any], image: JournalState) -> JournalState:
    """Return a second image of the same state."""
    from broker.journal.items import describe_session

    copy = JournalState()
    for session in image.sessions.values():
        for record in describe_session(session):
            copy.apply(record, 1)
    for message in sorted((image.bodies or {}).values()):
        for record in image.renew(message, image.messages[message.message_id].home):
            copy.apply(record, 1)
    copy.settle()
    assert describe(copy) == before
    return copy
