"""The versions of one container: every event in every state, and the five rules."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.versions.history import (
    ACTIVATIONS_LIMIT,
    EVENTS,
    WAITING,
    StoredVersion,
    VersionEvent,
    VersionHistory,
    VersionState,
)

S = VersionState


def version(digest: str = "one") -> StoredVersion:
    return StoredVersion("api-probe", 0, 0, "api-probe-v1", digest, "python")


def history_of(*states: tuple[VersionState, bool]) -> VersionHistory:
    """Return a history of versions 1, 2, … in these states; the flag is whether it is good."""
    rows = [
        StoredVersion(
            "api-probe", number, number, "", str(number), "python", {}, 0.0, float(number), state,
            good,
        )
        for number, (state, good) in enumerate(states, 1)
    ]  # fmt: skip
    return VersionHistory(rows)


def run(history: VersionHistory, digest: str, now: float = 1.0, *, good: bool = True) -> int:
    number = history.add(version(digest), now).number
    assert history.start(number)
    history.ready(number, now)
    if good:
        history.proven(number)
    return number


def states(history: VersionHistory) -> dict[int, VersionState]:
    return {each.number: each.state for each in history.all()}


def test_every_event_that_is_not_in_the_table_is_refused() -> None:
    for state, event in product(VersionState, VersionEvent):
        history = history_of((state, False))
        if (state, event) in EVENTS:
            assert history._apply(1, event).state is EVENTS[state, event]
        else:
            with pytest.raises(ValueError, match=f"cannot {event} version 1: it is {state}"):
                history._apply(1, event)


def test_a_version_replaces_the_one_before() -> None:
    history = VersionHistory()
    run(history, "one", 1.0)
    run(history, "two", 2.0)
    assert states(history) == {1: S.REPLACED, 2: S.RUNNING}
    one = history.find(1)
    assert one is not None
    assert (one.good, one.ended) == (True, 2.0)
    assert history.note == ""


def test_the_last_that_was_queued_supersedes_those_that_wait() -> None:
    history = VersionHistory()
    run(history, "one")
    two = history.add(version("two"), 1.0).number
    assert history.start(two)
    three = history.add(version("three"), 2.0).number
    four = history.add(version("four"), 3.0).number
    assert states(history) == {1: S.RUNNING, two: S.STARTING, three: S.SUPERSEDED, four: S.QUEUED}
    assert not history.start(three)
    found = history.find(three)
    assert found is not None
    assert found.error == "version 4 was deployed after it"
    history.failed(two, "no sensor", 4.0)
    assert history.start(four)


# case S18
def test_a_start_of_the_gateway_tries_the_last_version_that_waited() -> None:
    history = history_of((S.RUNNING, True), (S.STARTING, False), (S.QUEUED, False))
    waiting = history.activate(9.0)
    assert waiting is not None
    assert waiting.number == 3
    assert states(history) == {1: S.RUNNING, 2: S.SUPERSEDED, 3: S.QUEUED}


def test_a_version_that_ends_the_gateway_is_not_tried_for_ever() -> None:
    history = history_of((S.RUNNING, True), (S.STARTING, False))
    for _ in range(ACTIVATIONS_LIMIT):
        assert history.activate(1.0) is not None
        assert history.start(2)
    assert history.activate(2.0) is None
    assert states(history) == {1: S.RUNNING, 2: S.FAILED}
    assert "the gateway ended while it started, 3 times" in history.note


@pytest.mark.parametrize(
    ("before", "number"),
    [
        ([(S.REPLACED, True), (S.REPLACED, True), (S.RUNNING, False)], 2),
        ([(S.REPLACED, True), (S.CRASHED, False), (S.RUNNING, False)], 1),
        ([(S.REPLACED, True), (S.REPLACED, False), (S.RUNNING, False)], 1),
        ([(S.REPLACED, False), (S.FAILED, True), (S.RUNNING, False)], 1),
        ([(S.CRASHED, False), (S.FAILED, False), (S.RUNNING, False)], None),
    ],
)
def test_a_crash_goes_back_to_the_last_good_version(
    before: list[tuple[VersionState, bool]], number: int | None
) -> None:
    fallback = history_of(*before).find_fallback(3)
    assert (fallback.number if fallback else None) == number


def test_a_rollback_goes_back_one_by_one_and_forward_by_number() -> None:
    history = VersionHistory()
    for digest in ("one", "two", "three"):
        run(history, digest)
    for expected in (2, 1):
        running = history.running
        assert running is not None
        previous = history.find_previous(running.number)
        assert previous is not None
        assert previous.number == expected
        history.queue(expected, 5.0)
        assert history.start(expected)
        history.ready(expected, 5.0)
    assert history.find_previous(1) is None
    assert states(history) == {1: S.RUNNING, 2: S.REPLACED, 3: S.REPLACED}


def test_a_crash_is_noted_until_something_else_is_deployed() -> None:
    history = VersionHistory()
    run(history, "one")
    run(history, "two", good=False)
    history.crashed(2, "it exited with status 1", 3.0)
    history.ready(1, 3.0)
    assert states(history) == {1: S.RUNNING, 2: S.CRASHED}
    assert history.note == (
        "version 2 ended soon after its start: it exited with status 1; version 1 runs again"
    )
    run(history, "three")
    assert history.note == ""


def test_what_cannot_be_written_is_written_with_the_next_change() -> None:
    history = VersionHistory()
    run(history, "one")
    lost = history.take_changes()
    history.keep_changes(lost)
    two = history.add(version("two"), 2.0)
    assert history.take_changes() == {**lost, 2: two}
    assert history.take_changes() == {}


def test_a_version_that_never_reached_the_disk_leaves_no_trace() -> None:
    history = VersionHistory()
    history.forget(history.add(version(), 1.0).number)
    assert history.take_changes() == {}
    number = history.add(version(), 1.0).number
    history.take_changes()
    history.forget(number)
    assert history.take_changes() == {number: None}


STEPS = st.lists(st.sampled_from(["good", "crash", "fail", "wait", "back", "restart"]), max_size=40)


def take_step(history: VersionHistory, step: str, now: float) -> None:
    running = history.running
    previous = history.find_previous(running.number) if running else None
    if step == "wait":
        history.add(version(), now)
    elif step == "restart":
        history.activate(now)
    elif step == "fail":
        number = history.add(version(), now).number
        assert history.start(number)
        history.failed(number, "no", now)
    elif step == "back" and previous is not None and previous.state not in WAITING:
        history.queue(previous.number, now)
        assert history.start(previous.number)
        history.ready(previous.number, now)
    elif step in ("good", "crash"):
        number = run(history, "x", now, good=step == "good")
        fallback = history.find_fallback(number)
        if step == "crash" and fallback is not None:
            history.crashed(number, "crash", now)
            history.ready(fallback.number, now)


@given(steps=STEPS, keep=st.integers(1, 5))
def test_the_rules_hold_after_any_steps(steps: list[str], keep: int) -> None:
    """A burst of deployments: what runs and what can be gone back to is never dropped."""
    history = VersionHistory()
    for now, step in enumerate(steps, 1):
        take_step(history, step, float(now))
        running = history.running
        fallback = history.find_fallback(running.number) if running else None
        dropped = {each.number for each in history.drop_excess(keep)}
        assert history.running == running
        assert fallback is None or fallback.number not in dropped
        assert sum(each.state is S.RUNNING for each in history.all()) <= 1
        assert sum(each.state is S.QUEUED for each in history.all()) <= 1
        assert len(history.all()) <= keep + 5
