"""Registrations at the cloud: all members of a cluster after a take-over, or one that changes."""

import asyncio
import random
from collections import Counter

import pytest

from gateway.cluster.records.directory import NodeCounts
from gateway.uplink.registration import SETTLE_S, SPREAD_CAP_S, DueRegistration, spread_of
from tests.virtual_time import run_virtual


async def register_all(nodes: int, spread_s: float) -> list[float]:
    """Return after how long each node registers when all change at the same moment."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one(seed: int) -> float:
        due = DueRegistration(random.Random(seed))
        due.request(spread_s)
        await due.wait()
        return loop.time() - began

    return list(await asyncio.gather(*(one(seed) for seed in range(nodes))))


# case N12
@pytest.mark.parametrize("nodes", [40, 200, 1000])
def test_members_register_evenly_over_a_bounded_time_after_a_take_over(nodes: int) -> None:
    spread_s = spread_of(nodes)
    assert spread_s <= SPREAD_CAP_S
    times = run_virtual(register_all(nodes, spread_s))
    assert max(times) <= SETTLE_S + spread_s + 1e-6
    tenths = Counter(min(9, int(10 * (each - SETTLE_S) / spread_s)) for each in times)
    assert len(tenths) == 10
    assert max(tenths.values()) < 3 * nodes / 10


def test_a_change_of_one_node_alone_is_registered_at_once() -> None:
    (after_s,) = run_virtual(register_all(1, 0.0))
    assert after_s == pytest.approx(SETTLE_S)
    assert spread_of(3) < SETTLE_S


def test_a_spread_ends_with_the_registration_that_it_was_for() -> None:
    async def run() -> None:
        due = DueRegistration(random.Random(2))
        due.request(1.0)
        due.request()  # a service changes meanwhile: still one registration
        await due.wait()
        due.begin()
        began = asyncio.get_running_loop().time()
        due.request()
        await due.wait()
        assert asyncio.get_running_loop().time() - began == pytest.approx(SETTLE_S)

    run_virtual(run())


def test_the_size_of_a_cluster_is_kept_over_a_take_over() -> None:
    counts = NodeCounts()
    counts.note("a", 3)
    counts.note("a", 1000)
    counts.note("b", 37)  # members are coming still
    assert counts.largest == 1000
    counts.note("b", 998)
    counts.note("c", 5)
    assert counts.largest == 998
