"""A roll-out's plan: every event in every state, waves, the bound, and nodes that are away."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.rollouts.plan import (
    ACTIVE,
    EVENTS,
    LONGEST_RETRY_S,
    RETRIES_AT_ONCE,
    NodeProgress,
    RolloutEvent,
    RolloutNodeState,
    RolloutPlan,
    RolloutState,
    parse_share,
)

S = RolloutNodeState


def plan_of(count: int, wave: int = 2, allowed: float = 0) -> RolloutPlan:
    return RolloutPlan([NodeProgress(f"n{number}") for number in range(count)], wave, allowed)


def finish(plan: RolloutPlan, *node_ids: str, now: float = 0.0) -> None:
    for node_id in node_ids:
        plan.transferred(node_id, now)
        plan.ready(node_id, now)


def test_every_event_that_is_not_in_the_table_is_refused() -> None:
    for state, event in product(RolloutNodeState, RolloutEvent):
        plan = RolloutPlan([NodeProgress("n", state)], 1, 0)
        if (state, event) in EVENTS:
            plan._apply("n", event, 1.0)
            assert plan.find("n").state is EVENTS[state, event]
        else:
            with pytest.raises(ValueError, match=f"cannot {event} node n: it is {state}"):
                plan._apply("n", event, 1.0)


def test_a_wave_begins_when_the_one_before_is_settled() -> None:
    plan = plan_of(5, wave=2)
    assert plan.take_starts(0.0) == ["n0", "n1"]
    assert plan.take_starts(0.0) == []
    finish(plan, "n0")
    assert plan.take_starts(0.0) == []
    finish(plan, "n1")
    assert plan.take_starts(0.0) == ["n2", "n3"]
    finish(plan, "n2", "n3")
    assert plan.take_starts(0.0) == ["n4"]
    assert plan.state is RolloutState.RUNNING
    finish(plan, "n4")
    assert (plan.state, plan.deadline) == (RolloutState.DONE, None)


# case S24
def test_twelve_nodes_one_broken_one_unreachable_bound_ten_per_cent() -> None:
    plan = plan_of(12, wave=3, allowed=parse_share("10%", 12))
    while starts := plan.take_starts(0.0):
        for node_id in starts:
            if node_id == "n1":
                plan.failed(node_id, "no sensor", 0.0)
            elif node_id == "n4":
                plan.lost(node_id, "its cluster is not connected", 0.0)
            else:
                finish(plan, node_id)
    assert plan.failures == 1
    assert plan.state is RolloutState.WAITING  # for the one that is away
    assert sum(node.state is S.READY for node in plan.nodes) == 10
    assert plan.deadline == plan.find("n4").due
    assert plan.take_starts(plan.find("n4").due) == ["n4"]
    finish(plan, "n4")
    assert str(plan.state) == "done"


# case S24
def test_beyond_the_bound_no_node_begins_and_those_that_have_begun_go_on() -> None:
    plan = plan_of(12, wave=3, allowed=parse_share("10%", 12))
    assert plan.take_starts(0.0) == ["n0", "n1", "n2"]
    plan.failed("n0", "no sensor", 0.0)
    plan.failed("n1", "no sensor", 0.0)
    assert plan.state is RolloutState.STOPPED
    finish(plan, "n2")
    assert plan.take_starts(1e9) == []
    assert plan.deadline is None
    plan.resume(1.0)
    assert str(plan.state) == "running"
    assert plan.take_starts(1.0) == ["n0", "n1", "n3"]


def test_an_unreachable_node_is_tried_ever_more_seldom_and_holds_up_no_wave() -> None:
    plan, now = plan_of(3, wave=1), 0.0
    assert plan.take_starts(now) == ["n0"]
    plan.lost("n0", "away", now)
    assert plan.take_starts(now) == ["n1"]
    pauses = []
    for _ in range(12):
        due = plan.find("n0").due
        assert plan.take_starts(due - 0.001) == []
        assert plan.take_starts(due) == ["n0"]
        plan.lost("n0", "away", due)
        pauses.append(plan.find("n0").due - due)
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_RETRY_S


def test_a_burst_of_nodes_that_come_back_is_bounded() -> None:
    plan = plan_of(50, wave=50)
    for node_id in plan.take_starts(0.0):
        plan.lost(node_id, "away", 0.0)
    assert len(plan.take_starts(1e6)) == RETRIES_AT_ONCE
    assert plan.take_starts(1e6) == []
    assert plan.deadline is None  # nothing can begin before one of these has ended
    plan.lost("n0", "away", 1e6)
    assert plan.deadline == plan.find("n4").due


def test_a_restart_of_the_coordinating_node_tries_again_at_once() -> None:
    plan = plan_of(4, wave=2)
    plan.take_starts(0.0)
    plan.transferred("n0", 0.0)
    plan.interrupt(100.0)
    assert [node.state for node in plan.nodes[:2]] == [S.UNREACHABLE] * 2
    assert set(plan.take_starts(100.0)) >= {"n0", "n1"}


def test_a_cancelled_roll_out_begins_nothing_until_it_goes_on() -> None:
    plan = plan_of(4, wave=2)
    plan.take_starts(0.0)
    plan.cancel()
    assert (plan.state, plan.take_starts(1e6)) == (RolloutState.CANCELLED, [])
    finish(plan, "n0", "n1")
    plan.resume(1.0)
    assert plan.take_starts(1.0) == ["n2", "n3"]


@pytest.mark.parametrize(("text", "nodes"), [(3, 3.0), ("25%", 3.0), ("10%", 1.2), (0, 0.0)])
def test_a_share_is_a_number_or_a_percentage(text: str | int, nodes: float) -> None:
    assert parse_share(text, 12) == pytest.approx(nodes)


@pytest.mark.parametrize("text", ["", "%", "101%", "-1%", "1.5", -1, True, None])
def test_what_is_no_share_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="neither a whole number nor a percentage"):
        parse_share(text, 12)  # type: ignore[arg-type]  # a body may hold it


EVENTS_OF_NODES = st.lists(
    st.tuples(st.sampled_from(["ready", "fail", "lose"]), st.integers(0, 30)), max_size=60
)


@given(steps=EVENTS_OF_NODES, wave=st.integers(1, 6), allowed=st.integers(0, 4))
def test_never_more_than_a_wave_and_some_retries_at_once(
    steps: list[tuple[str, int]], wave: int, allowed: int
) -> None:
    plan, now = plan_of(20, wave, allowed), 0.0
    for what, pick in steps:
        now += 10
        plan.take_starts(now)
        active = [node.node_id for node in plan.nodes if node.state in ACTIVE]
        assert len(active) <= wave + RETRIES_AT_ONCE
        if not active:
            continue
        node_id = active[pick % len(active)]
        if what == "ready":
            plan.ready(node_id, now)
        elif what == "fail":
            plan.failed(node_id, "no", now)
        else:
            plan.lost(node_id, "away", now)
        assert plan.failures <= allowed + wave + RETRIES_AT_ONCE
