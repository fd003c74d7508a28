"""Queues the QoS 1 and 2 messages of one session that wait behind those in flight.

Theory of operation
-------------------
A message that is added is within the limits; one beyond them is dropped and counted. Rules after
every call:

1. No client holds more than what is left for all: however many fill the total, those that hold
   little go on. (Dynamic queue thresholds, Choudhury and Hahne 1998, with alpha = 1.)
2. A new message is refused only when no message is left that has expired.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from broker.policy import Overflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.messages.delivery import Delivery
    from broker.messages.overflow import OverflowControl
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.sessions.persistence import SessionPersistence

EXPIRY_STEP_S = 0.1  # between two searches for expired messages, 1 ms each; expiry is in seconds

_NOTHING: deque[Delivery] = deque(maxlen=0)  # an empty deque of its own would cost 600 bytes


class MessageQueue:
    """Keeps messages in order, within the limits of one session and of all."""

    __slots__ = (
        "_counters", "_drop_expired_of_all", "_limits", "_next_expiry", "_overflow", "_recorder",
        "messages", "size_bytes",
    )  # fmt: skip

    def __init__(
        self,
        limits: Limits,
        counters: BrokerCounters,
        drop_expired_of_all: Callable[[float], None],
    ) -> None:
        self.messages = _NOTHING  # speed: the session reads it; only the queue changes it
        self.size_bytes = 0
        self._limits = limits
        self._counters = counters
        self._drop_expired_of_all = drop_expired_of_all  # for all sessions of the broker
        self._next_expiry = inf  # no queued message expires before
        self._recorder: SessionPersistence | None = None
        self._overflow: OverflowControl | None = None

    def set_overflow(self, control: OverflowControl) -> None:
        """Apply the rule of a session when messages do not fit."""
        self._overflow = control

    def set_recorder(self, recorder: SessionPersistence | None) -> None:
        """Record messages that are dropped, or no more."""
        self._recorder = recorder

    def put(self, delivery: Delivery, now: float, in_flight: int, *, is_new: bool = True) -> bool:
        """Add a message; return False, and count, when there is no room.

        in_flight is the size of the session's messages in flight, in bytes.
        """
        counters, message = self._counters, delivery.message
        size = message.size_bytes
        overflow = self._overflow
        if not self.has_room(size, now, in_flight, is_new=is_new):
            if overflow is not None and overflow.rule.kind is Overflow.DROP_OLDEST:
                self._drop_oldest(size, now, in_flight)
            if not self.has_room(size, now, in_flight, is_new=is_new):
                counters.drop("queue_full")
                if overflow is not None:
                    overflow.note_dropped(1)
                return False
        if self.messages is _NOTHING:
            self.messages = deque()
        self.messages.append(delivery)
        self.size_bytes += size
        counters.queued_bytes += size
        if message.expires_at is not None and message.expires_at < self._next_expiry:
            self._next_expiry = message.expires_at
        if overflow is not None:
            overflow.note_length(len(self.messages), self.size_bytes)
        return True

    def pop(self) -> Delivery:
        """Remove and return the first message."""
        delivery = self.messages.popleft()
        size = delivery.message.size_bytes
        self.size_bytes -= size
        self._counters.queued_bytes -= size
        if self._overflow is not None:
            self._overflow.note_length(len(self.messages), self.size_bytes)
        return delivery

    def take_run(self, limit: int) -> list[Delivery]:
        """Remove and return the first messages, as many as can be sent together.

        They are of QoS 1, do not expire and belong to no group.
        """
        messages, size = self.messages, 0
        run: list[Delivery] = []
        while messages and len(run) < limit:
            first = messages[0]
            if first.qos != 1 or first.group is not None or first.message.expires_at is not None:
                break
            run.append(messages.popleft())
            size += first.message.size_bytes
        if run:
            self.size_bytes -= size
            self._counters.queued_bytes -= size
            if self._overflow is not None:
                self._overflow.note_length(len(messages), self.size_bytes)
        return run

    def has_room(self, size: int, now: float, in_flight: int, *, is_new: bool) -> bool:
        """Return whether a message fits; expired messages make room for it."""
        limits = self._limits
        held = in_flight + self.size_bytes
        share = held if is_new else 0  # rule 1
        return (
            len(self.messages) < limits.queued_messages
            and held + size <= limits.queued_bytes
            and self._counters.queued_bytes + share + size <= limits.queued_bytes_total
        ) or self._make_room(size, now, in_flight, is_new=is_new)

    def _drop_oldest(self, size: int, now: float, in_flight: int) -> None:
        """Drop the messages that wait longest until a new one fits."""
        gone: list[Delivery] = []
        while self.messages and not self.has_room(size, now, in_flight, is_new=True):
            gone.append(self.pop())
        self._counters.drop("queue_full", len(gone))
        if self._overflow is not None:
            self._overflow.note_dropped(len(gone))
        self.record_dropped(gone)

    def _make_room(self, size: int, now: float, in_flight: int, *, is_new: bool) -> bool:
        """Drop expired messages; return whether a new one fits now. Rule 2, [MQTT-3.3.2-5]."""
        self.drop_expired(now)
        limits, counters = self._limits, self._counters
        held = in_flight + self.size_bytes
        if len(self.messages) >= limits.queued_messages or held + size > limits.queued_bytes:
            return False
        free_bytes = limits.queued_bytes_total - size - (held if is_new else 0)
        if counters.queued_bytes > free_bytes:
            self._drop_expired_of_all(now)
        return counters.queued_bytes <= free_bytes

    def drop_expired(self, now: float) -> None:
        """Drop the messages that have expired, if there may be any."""
        if now < self._next_expiry:
            return
        kept: list[Delivery] = []
        gone: list[Delivery] = []
        earliest = inf
        for each in self.messages:
            expires_at = each.message.expires_at
            if expires_at is not None and expires_at <= now:
                gone.append(each)
                continue
            kept.append(each)
            if expires_at is not None and expires_at < earliest:
                earliest = expires_at
        self._next_expiry = max(earliest, now + EXPIRY_STEP_S)
        if gone:
            self._replace(kept, gone)
            self._counters.drop("expired", len(gone))

    def drop_topics(self, is_denied: Callable[[str], bool]) -> list[Delivery]:
        """Drop the messages of denied topics; return those that other group members may get."""
        verdicts: dict[str, bool] = {}
        kept: list[Delivery] = []
        gone: list[Delivery] = []
        for each in self.messages:
            topic = each.message.topic
            verdict = verdicts.get(topic)
            if verdict is None:
                verdict = verdicts[topic] = is_denied(topic)
            (gone if verdict else kept).append(each)
        if gone:
            self._replace(kept, gone)
        shared = [each for each in gone if each.group is not None and each.qos == 1]
        if len(gone) > len(shared):
            self._counters.drop("not_authorized", len(gone) - len(shared))
        return shared

    def find_shared(self) -> list[Delivery]:
        """Return the messages that other group members may get."""
        return [each for each in self.messages if each.group is not None and each.qos == 1]

    def clear(self) -> None:
        """Remove all messages."""
        self._counters.queued_bytes -= self.size_bytes
        self.messages = _NOTHING
        self.size_bytes = 0
        self._next_expiry = inf
        if self._overflow is not None:
            self._overflow.stop()

    def record_dropped(self, deliveries: Iterable[Delivery]) -> None:
        """Remove messages from the store."""
        if self._recorder is not None:
            self._recorder.dropped([each.message_id for each in deliveries if each.message_id])

    def _replace(self, kept: list[Delivery], gone: list[Delivery]) -> None:
        size = sum(each.message.size_bytes for each in gone)
        self.messages = deque(kept) if kept else _NOTHING
        self.size_bytes -= size
        self._counters.queued_bytes -= size
        self.record_dropped(gone)
        if self._overflow is not None:
            self._overflow.note_length(len(self.messages), self.size_bytes)
