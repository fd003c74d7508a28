"""Controls what happens when a session cannot take its messages in time.

Theory of operation
-------------------
The queue reports its length after each change. A session whose rule is SLOW holds back the
acknowledgements of its publishers while its queue is long, so that they send no faster than it
takes; the queue is a buffer between the marks HIGH and LOW.

    flowing ──length ≥ HIGH──► holding ──a hold is too old──► dropping
       ▲                          │                              │
       └───────length ≤ LOW───────┴──────────length ≤ LOW────────┘

Rules after every call:

1. While holding, acknowledgements of at most as many messages are held as wait beyond HIGH; the
   oldest are released first.
2. No acknowledgement is held longer than slow_s, plus one tick: then all are released, and the
   queue fills up to its limit, beyond which the newest messages are dropped and counted.
3. In other states, and with other rules, nothing is held.

on_change is called when routes to the session must be built again: only while it is holding they
leave the paths that acknowledge at once.
"""

from __future__ import annotations

import logging
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING

from broker.policy import Overflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.messages.message import Hold
    from broker.policy import Identity, OverflowRule

logger = logging.getLogger(__name__)

HIGH, LOW = 1_000, 500  # messages
HIGH_BYTES = 1_048_576  # a quarter of what a queue may have


class FlowState(Enum):
    """The states of a session's publishers."""

    FLOWING = auto()
    HOLDING = auto()
    DROPPING = auto()


class OverflowControl:
    """Applies the rule of one session."""

    __slots__ = (
        "_client_id", "_held", "_holds", "_messages", "_on_change", "_size_bytes", "dropped",
        "rule", "state",
    )  # fmt: skip

    def __init__(self, client_id: str, rule: OverflowRule, on_change: Callable[[], None]) -> None:
        self.rule = rule
        self.state = FlowState.FLOWING
        self.dropped = 0  # messages, since the session began
        self._client_id = client_id
        self._on_change = on_change
        self._holds: deque[tuple[Hold, int, float]] = deque()  # with messages and latest release
        self._held = 0  # messages
        self._messages = self._size_bytes = 0  # of the queue

    @property
    def is_holding(self) -> bool:
        """True while acknowledgements are held back."""
        return self.state is FlowState.HOLDING

    @property
    def held(self) -> int:
        """The number of messages whose acknowledgement is held back."""
        return self._held

    def set_rule(self, rule: OverflowRule) -> None:
        """Apply another rule from now on."""
        self.rule = rule
        if rule.kind is not Overflow.SLOW and self.state is not FlowState.FLOWING:
            self.stop()

    def keep(self, hold: Hold, publisher: Identity | None, messages: int, now: float) -> None:
        """Hold an acknowledgement back, for so many messages that were just queued.

        The session's own client is not held: it would wait for itself.
        """
        if hold.decided:  # handed over by a session that has ended
            return
        if self.is_holding and (publisher is None or publisher.client_id != self._client_id):
            hold.keep()
            self._holds.append((hold, messages, now + self.rule.slow_s))
            self._held += messages
            self._release_beyond()

    def note_length(self, messages: int, size_bytes: int) -> None:
        """Take the length of the queue after a change."""
        self._messages, self._size_bytes = messages, size_bytes
        is_low = messages <= LOW and size_bytes <= HIGH_BYTES // 2
        if self.state is not FlowState.FLOWING:
            if self._holds:
                self._release_beyond()
            if is_low:
                self.stop()
        elif self.rule.kind is Overflow.SLOW and (messages >= HIGH or size_bytes >= HIGH_BYTES):
            self._enter(FlowState.HOLDING)

    def note_dropped(self, messages: int) -> None:
        """Count messages that were dropped."""
        self.dropped += messages

    def tick(self, now: float) -> None:
        """Stop holding when a publisher has waited too long. Rule 2."""
        if self.is_holding and self._holds and self._holds[0][2] <= now:
            logger.warning(
                "%r does not keep up: its publishers have waited %g s; from now on its newest "
                "messages are dropped when its queue is full",
                self._client_id,
                self.rule.slow_s,
            )
            self._enter(FlowState.DROPPING)
            self._release_all()

    def stop(self) -> None:
        """Hold nothing any more."""
        if self.state is not FlowState.FLOWING:
            self._enter(FlowState.FLOWING)
        self._release_all()

    def _enter(self, state: FlowState) -> None:
        self.state = state
        self._on_change()

    def _release_beyond(self) -> None:
        """Release the oldest, down to the messages that wait beyond HIGH. Rule 1."""
        fitting = HIGH
        if self._size_bytes > HIGH_BYTES:
            fitting = min(HIGH, HIGH_BYTES * self._messages // self._size_bytes)
        allowed = max(self._messages - fitting, 0)
        while self._holds and self._held - self._holds[0][1] >= allowed:
            self._release_first()

    def _release_all(self) -> None:
        while self._holds:
            self._release_first()

    def _release_first(self) -> None:
        hold, messages, _ = self._holds.popleft()
        self._held -= messages
        hold.release()
