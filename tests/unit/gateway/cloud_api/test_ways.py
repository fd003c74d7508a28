"""A direct way comes first; the node that holds the SEP helps when it has failed."""

import random
from collections.abc import Callable

from gateway.cloud_api.ways import (
    DIRECT,
    FIRST_RETRY_S,
    HOLDER_RETRY_S,
    LEAST,
    LONGEST_RETRY_S,
    NEVER,
    WayChoice,
)


class Longest(random.Random):
    """Makes each pause as long as it may be."""

    def random(self) -> float:
        return 1.0


def choice(find_holder: Callable[[], str] = lambda: "") -> WayChoice:
    return WayChoice(find_holder, Longest())


def test_the_direct_way_is_chosen_until_it_fails() -> None:
    ways = choice(lambda: "b")
    assert (ways.choose(0.0), str(ways)) == (DIRECT, "direct")
    ways.failed(DIRECT, 0.0)
    assert ways.has_holder(0.0)
    assert (ways.choose(0.1), str(ways)) == ("b", "through b")
    ways.worked("b")
    assert ways.choose(FIRST_RETRY_S - 0.1) == "b"
    assert ways.choose(FIRST_RETRY_S) == DIRECT


def test_a_node_that_has_no_other_to_help_goes_on_directly() -> None:
    ways = choice()
    ways.failed(DIRECT, 0.0)
    assert (ways.has_holder(0.0), ways.holder_in_s(0.0)) == (False, NEVER)
    assert ways.choose(0.1) == DIRECT


def test_a_holder_that_fails_is_left_alone_for_a_while_and_another_is_tried() -> None:
    holder = ["b"]
    ways = choice(lambda: holder[0])
    ways.failed(DIRECT, 0.0)
    ways.failed("b", 0.0)
    assert (ways.choose(0.1), ways.has_holder(0.1)) == (DIRECT, False)
    holder[0] = "c"
    assert (ways.choose(0.1), ways.has_holder(0.1)) == ("c", True)
    ways.failed("c", 0.1)
    assert ways.holder_in_s(0.1) == HOLDER_RETRY_S
    holder[0] = "b"
    assert ways.choose(0.1) == "b"  # of several holders, the last one is remembered


def test_the_pause_doubles_with_each_failure_after_a_pause() -> None:
    ways, now, pauses = choice(lambda: "b"), 0.0, []
    for _ in range(6):
        ways.failed(DIRECT, now)
        ways.failed(DIRECT, now + 0.1)  # within the pause: it counts once
        pauses.append(ways.direct_in_s(now))
        now += pauses[-1]
    assert pauses == [5.0, 10.0, 20.0, LONGEST_RETRY_S, LONGEST_RETRY_S, LONGEST_RETRY_S]
    ways.retry_direct()
    assert ways.choose(now - 1.0) == DIRECT
    ways.failed(DIRECT, now)
    assert ways.direct_in_s(now) == LONGEST_RETRY_S  # a probe alone does not count as success
    ways.worked(DIRECT)
    ways.failed(DIRECT, now)
    assert ways.direct_in_s(now) == FIRST_RETRY_S


def test_nodes_that_lose_their_way_at_once_do_not_probe_it_at_once() -> None:
    nodes = [WayChoice(lambda: "b", random.Random(seed)) for seed in range(200)]
    for ways in nodes:
        ways.failed(DIRECT, 0.0)
    pauses = sorted(ways.direct_in_s(0.0) for ways in nodes)
    assert LEAST * FIRST_RETRY_S <= pauses[0] < pauses[-1] <= FIRST_RETRY_S
    assert pauses[-1] - pauses[0] > (1 - LEAST) * FIRST_RETRY_S * 0.9
    assert len({round(pause, 2) for pause in pauses}) > 100
