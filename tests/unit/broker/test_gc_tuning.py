"""The garbage collector, as a process that runs a broker sets it."""

import gc
from collections.abc import Iterator

import pytest

from broker.gc_tuning import YOUNG, look_seldom, spare_what_stays


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_there_is_not_looked_at_again() -> None:
    stays = [[each] for each in range(1_000)]
    spare_what_stays()
    assert gc.get_freeze_count() > len(stays)
    assert not any(each is stays for each in gc.get_objects())


def test_cycles_are_found_all_the_same() -> None:
    look_seldom()
    spare_what_stays()
    assert gc.get_threshold()[0] == YOUNG
    for _ in range(3 * YOUNG):
        cycle: list[object] = []
        cycle.append(cycle)
    assert gc.get_count()[0] <= YOUNG
