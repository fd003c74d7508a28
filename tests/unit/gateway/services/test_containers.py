import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.containers import DELAY_CAP_S, LIMIT, STEADY_S, Container, ContainerState


def test_a_container_becomes_ready() -> None:
    container = Container(now=10)
    assert container.state is ContainerState.CREATED
    assert container.is_due(10)
    container.ready(11)
    assert (container.state, container.deadline) == (ContainerState.STARTED, None)
    assert not container.is_due(1e9)


def test_one_that_ran_restarts_after_half_a_second() -> None:
    container = Container(0)
    container.ready(0)
    container.failed("it exited with status 1", 100)
    assert (container.state, container.error) == (
        ContainerState.RESTARTING,
        "it exited with status 1",
    )
    assert not container.is_due(100.4)
    assert container.is_due(100.5)
    container.ready(101)
    assert (container.state, container.error) == (ContainerState.STARTED, "")


def test_one_that_was_never_ready_is_failed_but_tried_again() -> None:
    container = Container(0)
    container.failed("cannot load service.py", 0)
    assert container.state is ContainerState.FAILED
    assert container.is_due(0.5)
    container.ready(1)
    assert container.error == ""


def test_one_that_fails_again_and_again_is_failed() -> None:
    container, now = Container(0), 0.0
    container.ready(now)
    for _ in range(LIMIT - 1):
        container.failed("again", now)
        assert container.state is ContainerState.RESTARTING
        container.ready(now)
    container.failed("again", now)
    assert container.state is ContainerState.FAILED


def test_being_up_for_a_while_is_forgiven() -> None:
    container = Container(0)
    container.ready(0)
    for start in range(0, 10_000, 1000):
        container.failed("now and then", start + STEADY_S)
        assert container.state is ContainerState.RESTARTING
        assert container.deadline == start + STEADY_S + 0.5
        container.ready(start + 500)


def test_delays_double_up_to_a_cap() -> None:
    container, delays = Container(0), []
    for _ in range(40):
        container.failed("no", 0)
        delays.append(container.deadline)
    assert delays[:4] == [0.5, 1, 2, 4]
    assert delays[-1] == DELAY_CAP_S


def test_starting_anew_forgets_failures() -> None:
    container = Container(0)
    container.failed("no", 0)
    container.start(5)
    assert (container.state, container.error, container.deadline) == (ContainerState.CREATED, "", 5)


# case S20
def test_a_crash_loop_is_tried_for_ever_and_a_deployment_ends_it() -> None:
    container, now, delays = Container(0), 0.0, []
    for _ in range(25):
        container.ready(now)
        container.failed("it exited with status 1", now)
        assert container.deadline is not None
        delays.append(container.deadline - now)
        now = container.deadline
    assert delays == [min(0.5 * 2**n, DELAY_CAP_S) for n in range(25)]
    assert container.is_due(now)
    container.ready(now)
    container.forget_failures()  # a new version was deployed
    container.failed("it exited with status 1", now)
    assert (container.state, container.deadline) == (ContainerState.RESTARTING, now + 0.5)


def test_an_event_that_a_state_does_not_know_is_an_error() -> None:
    container = Container(0)
    with pytest.raises(KeyError):
        container.stopped()
    container.stop()
    with pytest.raises(KeyError):
        container.ready(0)


@given(st.lists(st.sampled_from(["failed", "stop", "stopped"])))
def test_nothing_is_due_once_it_is_stopping(events: list[str]) -> None:
    container = Container(0)
    container.stop()
    for event in events:
        match event:
            case "failed":
                container.failed("no", 1)
            case "stop":
                container.stop()
            case "stopped":
                container.stopped()
        assert not container.is_due(1e9)
