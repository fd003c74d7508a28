"""Keeps the filters of one session whose retained messages must still be sent."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broker.messages.message import Message
    from broker.messages.retained import RetainedStore
    from broker.wire.packets import Subscription

    Walk = tuple[Subscription, Iterator[Message | None]]

# Of retained messages in one loop iteration, about 1 ms.
BACKLOG_STEP_BYTES = 16_384
BACKLOG_STEP_MESSAGE_BYTES = 200  # the cost of sending one besides its bytes
BACKLOG_STEP_NODE_BYTES = 20  # the cost of one topic level

_NOTHING: Mapping[str, Subscription] = MappingProxyType({})


class SendSlots(Protocol):
    """Counts the QoS 1 and 2 messages that a client may be sent now."""

    @property
    def free_slots(self) -> int: ...  # noqa: D102


class RetainedBacklog:
    """Walks through the retained messages of one filter after the other."""

    __slots__ = ("_current", "_pending")

    def __init__(self) -> None:
        # By filter; not begun. Made for the first one: an empty dict takes 64 bytes.
        self._pending: dict[str, Subscription] | None = None
        self._current: Walk | None = None

    def __bool__(self) -> bool:
        return self._current is not None or bool(self._pending)

    @property
    def pending(self) -> Mapping[str, Subscription]:
        """The filters that are not begun."""
        return _NOTHING if self._pending is None else self._pending

    def add(self, subscription: Subscription) -> None:
        """Send the retained messages of a filter, after those of earlier ones."""
        if self._pending is None:
            self._pending = {}
        self._pending[subscription.topic_filter] = subscription

    def find_walk(self, retained: RetainedStore) -> Walk | None:
        """Return the subscription and the walk that is not finished; None when there is none."""
        if self._current is None and self._pending:
            topic_filter = next(iter(self._pending))
            self._current = self._pending.pop(topic_filter), retained.walk(topic_filter)
        return self._current

    def steps(
        self, retained: RetainedStore, slots: SendSlots, now: float
    ) -> Iterator[tuple[int, Subscription, Message | None]]:
        """Yield cost, subscription and message of each step, as far as there are slots.

        A step without a message found none, or is the last one of a filter: this is finished then.
        """
        while (walk := self.find_walk(retained)) is not None:
            subscription, messages = walk
            if subscription.qos and slots.free_slots <= 0:
                return
            try:
                found = next(messages)  # the newest of its topic
            except StopIteration:
                self.finish_walk()
                yield BACKLOG_STEP_NODE_BYTES, subscription, None
                continue
            message = retained.get(found.topic) if found is not None else None
            if message is None or message.is_expired(now):
                yield BACKLOG_STEP_NODE_BYTES, subscription, None
                continue
            size = len(message.topic) + len(message.payload)
            cost = BACKLOG_STEP_NODE_BYTES + BACKLOG_STEP_MESSAGE_BYTES + size
            yield cost, subscription, message

    def is_finished(self, topic_filter: str) -> bool:
        """Return whether the walk of a filter is over."""
        current = self._current[0].topic_filter if self._current is not None else None
        return current != topic_filter and topic_filter not in self.pending

    def finish_walk(self) -> None:
        """Go on with the next filter."""
        self._current = None

    def forget(self, topic_filter: str) -> None:
        """Send no more retained messages of a filter."""
        if self._pending is not None:
            self._pending.pop(topic_filter, None)
        if self._current is not None and self._current[0].topic_filter == topic_filter:
            self._current = None

    def clear(self) -> None:
        """Send no more retained messages."""
        self._pending = self._current = None
