"""A queue that grows and shrinks in any way, and the acknowledgements that wait for it."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.messages.message import Hold
from broker.messages.overflow import HIGH, HIGH_BYTES, LOW, FlowState, OverflowControl
from broker.policy import Overflow, OverflowRule

SLOW_S = 10.0
MESSAGE_BYTES = 300


@dataclass
class Publish:
    """A run of messages with one acknowledgement."""

    messages: int
    at: float
    answers: int = 0


class Queue(RuleBasedStateMachine):
    """Plays the session's queue and its publishers."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.length = 0
        self.changes = 0
        self.runs: list[Publish] = []
        self.control = OverflowControl("c", OverflowRule(Overflow.SLOW, SLOW_S), self.note)

    def note(self) -> None:
        self.changes += 1

    @rule(messages=st.integers(1, 400))
    def publish(self, messages: int) -> None:
        run = Publish(messages, self.now)

        def decided(ok: bool) -> None:
            assert ok, "a message that is queued was refused"
            run.answers += 1

        hold = Hold(decided)
        hold.keep()
        for _ in range(messages):
            self.length += 1
            self.control.note_length(self.length, self.length * MESSAGE_BYTES)
        self.control.keep(hold, None, messages, self.now)
        hold.release()
        self.runs.append(run)

    @rule(messages=st.integers(1, 1_000))
    def take(self, messages: int) -> None:
        for _ in range(min(messages, self.length)):
            self.length -= 1
            self.control.note_length(self.length, self.length * MESSAGE_BYTES)

    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.control.tick(self.now)

    @rule()
    def clear(self) -> None:
        self.length = 0
        self.control.stop()

    @invariant()
    def each_is_answered_at_most_once_and_in_order(self) -> None:
        answers = [run.answers for run in self.runs]
        assert answers == sorted(answers, reverse=True)
        assert set(answers) <= {0, 1}
        held = sum(run.messages for run in self.runs if not run.answers)
        assert held == self.control.held

    @invariant()
    def nothing_is_held_without_a_cause(self) -> None:
        if self.control.state is not FlowState.HOLDING:
            assert self.control.held == 0
        beyond = max(self.length - min(HIGH, HIGH_BYTES // MESSAGE_BYTES), 0)
        last = max((run.messages for run in self.runs), default=0)
        assert self.control.held <= beyond + last

    @invariant()
    def nobody_waits_too_long(self) -> None:
        waiting = [run.at for run in self.runs if not run.answers]
        assert all(self.now - at < SLOW_S + 11.0 for at in waiting)

    @invariant()
    def a_long_queue_is_noticed_and_a_short_one_too(self) -> None:
        if self.length >= HIGH:
            assert self.control.state is not FlowState.FLOWING
        if self.length <= LOW:
            assert self.control.state is FlowState.FLOWING

    def teardown(self) -> None:
        self.control.stop()
        assert all(run.answers == 1 for run in self.runs)


TestOverflow = Queue.TestCase
TestOverflow.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_other_rules_hold_nothing() -> None:
    for kind in (Overflow.DROP_NEWEST, Overflow.DROP_OLDEST):
        control = OverflowControl("c", OverflowRule(kind), lambda: None)
        control.note_length(10 * HIGH, 10 * HIGH_BYTES)
        assert control.state is FlowState.FLOWING


def test_a_rule_that_is_changed_releases_what_was_held() -> None:
    answers: list[bool] = []
    control = OverflowControl("c", OverflowRule(Overflow.SLOW), lambda: None)
    control.note_length(HIGH, 0)
    control.note_length(HIGH + 1, 0)
    hold = Hold(answers.append)
    control.keep(hold, None, 1, 0.0)
    assert answers == []
    control.set_rule(OverflowRule(Overflow.DROP_OLDEST))
    assert answers == [True]
