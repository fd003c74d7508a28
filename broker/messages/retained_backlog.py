"""Keeps the filters of one session whose retained messages must still be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.messages.message import Message
    from broker.messages.retained import RetainedStore
    from broker.wire.packets import Subscription

    Walk = tuple[Subscription, Iterator[Message | None]]

# Of retained messages in one loop iteration, about 1 ms.
BACKLOG_STEP_BYTES = 16_384
BACKLOG_STEP_MESSAGE_BYTES = 200  # the cost of sending one besides its bytes
BACKLOG_STEP_NODE_BYTES = 20  # the cost of one topic level


class RetainedBacklog:
    """Walks through the retained messages of one filter after the other."""

    __slots__ = ("_current", "pending")

    def __init__(self) -> None:
        self.pending: dict[str, Subscription] = {}  # by filter; not begun
        self._current: Walk | None = None

    def __bool__(self) -> bool:
        return self._current is not None or bool(self.pending)

    def add(self, subscription: Subscription) -> None:
        """Send the retained messages of a filter, after those of earlier ones."""
        self.pending[subscription.topic_filter] = subscription

    def find_walk(self, retained: RetainedStore) -> Walk | None:
        """Return the subscription and the walk that is not finished; None when there is none."""
        if self._current is None and self.pending:
            topic_filter = next(iter(self.pending))
            self._current = self.pending.pop(topic_filter), retained.walk(topic_filter)
        return self._current

    def finish_walk(self) -> None:
        """Go on with the next filter."""
        self._current = None

    def forget(self, topic_filter: str) -> None:
        """Send no more retained messages of a filter."""
        self.pending.pop(topic_filter, None)
        if self._current is not None and self._current[0].topic_filter == topic_filter:
            self._current = None

    def clear(self) -> None:
        """Send no more retained messages."""
        self.pending.clear()
        self._current = None
