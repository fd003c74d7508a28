"""The routing function: a table of cases."""

import pytest

from gateway.calls.ways import (
    FIRST_RETRY_S,
    LONGEST_RETRY_S,
    MARKS_LIMIT,
    FailedWays,
    NodeReach,
    Way,
    find_routes,
)

AT = ("10.0.0.2:8084",)
LAN, BEP, SEP = Way.LAN, Way.BEP, Way.SEP
BOTH = frozenset({LAN, SEP})

CASES: dict[str, tuple[NodeReach, list[Way]]] = {
    "this node": (NodeReach(is_self=True, addresses=AT, has_cloud=True), [Way.IN_PROCESS]),
    "this node, alone": (NodeReach(is_self=True), [Way.IN_PROCESS]),
    "a member": (NodeReach(addresses=AT, has_cloud=True), [LAN, SEP]),
    "a member, no cloud": (NodeReach(addresses=AT), [LAN]),
    "a node of the account": (NodeReach(has_cloud=True), [SEP]),
    "a node that nothing leads to": (NodeReach(), []),
    "LAN has failed": (NodeReach(False, AT, True, frozenset({LAN})), [SEP, LAN]),
    "SEP has failed": (NodeReach(False, AT, True, frozenset({SEP})), [LAN, SEP]),
    "both have failed": (NodeReach(False, AT, True, BOTH), [LAN, SEP]),
    "bulk to a member": (NodeReach(addresses=AT, has_cloud=True, is_bulk=True), [LAN, BEP, SEP]),
    "bulk to a node of the account": (NodeReach(has_cloud=True, is_bulk=True), [BEP, SEP]),
    "bulk without a cloud": (NodeReach(addresses=AT, is_bulk=True), [LAN]),
    "bulk to itself": (NodeReach(is_self=True, has_cloud=True, is_bulk=True), [Way.IN_PROCESS]),
    "bulk, LAN has failed": (NodeReach(False, AT, True, frozenset({LAN}), True), [BEP, SEP, LAN]),
    "bulk, BEP has failed": (
        NodeReach(has_cloud=True, failed=frozenset({BEP}), is_bulk=True),
        [SEP, BEP],
    ),
    "the only way has failed": (NodeReach(False, AT, False, frozenset({LAN})), [LAN]),
    "the only way is SEP and failed": (NodeReach(has_cloud=True, failed=BOTH), [SEP]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_ways_to_a_node(name: str) -> None:
    reach, expected = CASES[name]
    assert [route.way for route in find_routes(reach)] == expected


def test_a_route_says_why_it_is_late() -> None:
    late = find_routes(NodeReach(False, AT, True, frozenset({LAN})))[-1]
    assert late.why == "it is a member of the cluster, at 10.0.0.2:8084; it has just failed"


def test_a_failed_way_is_tried_again_after_a_pause_that_doubles_to_a_limit() -> None:
    failed, now = FailedWays(), 100.0
    for pause_s in (FIRST_RETRY_S, 2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S):
        failed.note_failure("a", LAN, now)
        assert failed.failed("a", now + pause_s - 0.01) == {LAN}
        now += pause_s
        assert failed.failed("a", now) == frozenset()
    for _ in range(20):
        failed.note_failure("a", LAN, now)
    assert failed.failed("a", now + LONGEST_RETRY_S - 0.01) == {LAN}
    assert failed.failed("a", now + LONGEST_RETRY_S) == frozenset()
    assert failed.failed("b", now) == frozenset()
    failed.note_success("a", LAN)
    failed.note_failure("a", LAN, now)
    assert failed.failed("a", now + FIRST_RETRY_S) == frozenset()


def test_a_burst_of_marks_is_bounded() -> None:
    failed = FailedWays()
    for number in range(2 * MARKS_LIMIT):
        failed.note_failure(str(number), SEP, 0.0)
    kept = sum(bool(failed.failed(str(number), 0.0)) for number in range(2 * MARKS_LIMIT))
    assert kept == MARKS_LIMIT
