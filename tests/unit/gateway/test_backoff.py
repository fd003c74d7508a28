import random
from bisect import bisect_left
from itertools import islice

import pytest

from gateway.backoff import delays

NODES, WINDOW_S = 1000, 0.1


def return_times(away_s: float, least: float) -> list[float]:
    """Return the time at which each node reaches a peer that all have lost at the same moment."""
    times = []
    for seed in range(NODES):
        now = 0.0
        for pause in delays(0.5, 30, random.Random(seed), least=least):
            now += pause
            if now >= away_s:
                break
        times.append(now)
    return sorted(times)


def most_at_once(times: list[float]) -> int:
    """Return the greatest number of times within one window."""
    return max(bisect_left(times, at + WINDOW_S) - number for number, at in enumerate(times))


def test_limits_double_up_to_the_cap_and_each_pause_is_random_below_its_limit() -> None:
    limits = [1, 2, 4, 8, 10, 10, 10]
    for number, limit in enumerate(limits):
        pauses = [
            next(islice(delays(1, 10, random.Random(seed)), number, None)) for seed in range(NODES)
        ]
        assert all(0 <= pause <= limit for pause in pauses)
        for part in range(10):  # uniform: each tenth of the range has about a tenth of them
            held = sum(part <= 10 * pause / limit < part + 1 for pause in pauses)
            assert NODES / 20 < held < NODES / 5


@pytest.mark.parametrize("away_s", [3, 10, 60])
def test_a_thousand_nodes_that_lose_a_peer_at_once_do_not_come_back_at_once(away_s: float) -> None:
    spread = most_at_once(return_times(away_s, least=0.0))
    assert spread < NODES / 20
    assert spread < most_at_once(return_times(away_s, least=0.5))  # in waves
    assert most_at_once(return_times(away_s, least=1.0)) == NODES  # in step


def test_a_caller_with_few_attempts_gets_no_pause_below_its_part() -> None:
    waits = delays(0.5, 30, random.Random(1), least=0.5)
    assert all(15 <= pause <= 30 for pause in islice(waits, 100, 3000))


def test_the_cap_holds_from_the_first_pause() -> None:
    assert next(delays(60, 5, random.Random(1))) <= 5
