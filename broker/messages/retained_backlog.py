"""Keeps the filters of one session whose retained messages must still be sent."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

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
