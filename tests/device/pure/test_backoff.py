"""Pauses between attempts; runs on CPython and on MicroPython."""

import random

from device.backoff import STEADY_MS, delay_ms, pause_ms
from device.config import parse_config

LIMITS = parse_config('{"name": "n", "host": "h"}')
SILENCE_MS = 3000  # an attempt without an answer takes so long; a refused one takes none


def pauses(kinds: str, took_ms: int = 0, chance: float = 1.0) -> list[int]:
    """Return the pauses after failures: C costly, N nobody answers."""
    counts = [0, 0]
    return [pause_ms(counts, kind == "C", took_ms, 0, LIMITS, chance) for kind in kinds]


def test_delays_double_up_to_the_cap_and_half_is_random() -> None:
    longest = [delay_ms(attempt, 1000, 60000, 1.0) for attempt in range(1, 9)]
    assert longest == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    assert [delay_ms(n, 1000, 60000, 0.0) for n in (1, 2, 7)] == [500, 1000, 30000]
    assert delay_ms(100000, 1000, 60000, 1.0) == 60000


def test_what_costs_the_gateway_nothing_is_tried_again_soon() -> None:
    assert pauses("NNNNNN") == [1000, 2000, 4000, 4000, 4000, 4000]
    assert pauses("CCCCCCC") == [1000, 2000, 4000, 8000, 16000, 32000, 60000]


def test_the_time_of_an_attempt_without_an_answer_counts() -> None:
    assert pauses("NNNN", SILENCE_MS) == [1000, 1000, 1000, 1000]
    assert pauses("NN", -5) == [1000, 2000]  # a counter that wrapped
    assert pauses("CC", SILENCE_MS) == [1000, 2000]


def test_a_busy_gateway_that_drops_some_attempts_does_not_look_like_an_outage() -> None:
    assert pauses("CCCNNC")[-1] == 8000
    assert pauses("CCCNNNC")[-1] == 1000


def test_only_a_steady_link_starts_the_delays_again() -> None:
    counts = [0, 0]
    flapping = [pause_ms(counts, False, 0, STEADY_MS - 1, LIMITS, 1.0) for _ in range(4)]
    assert flapping == [1000, 2000, 4000, 8000]
    assert pause_ms(counts, False, 0, STEADY_MS, LIMITS, 1.0) == 1000
    assert counts == [1, 0]


def test_a_hundred_boards_return_soon_and_spread() -> None:
    random.seed(4)
    for outage_ms in (2000, 10000, 30000, 1800000):
        for took_ms in (5, SILENCE_MS) if outage_ms < 1800000 else (5,):
            returns = []
            for _ in range(100):
                now, counts, up_ms = 0, [0, 0], STEADY_MS
                while True:
                    now += pause_ms(counts, False, took_ms, up_ms, LIMITS, random.random())
                    up_ms = 0
                    if now >= outage_ms:
                        break
                    now += took_ms
                returns.append(now - outage_ms)
            assert max(returns) <= 4000
            # the handshakes of a hundred boards take about 100 ms of the gateway's time
            fullest = max(len([r for r in returns if 0 <= r - t < 500]) for t in returns)
            assert outage_ms < 30000 or fullest <= 50, (outage_ms, took_ms, fullest)
