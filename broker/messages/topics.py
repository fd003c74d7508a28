"""Validates topics and filters, and finds the subscriptions of a topic in a tree.

Theory of operation
-------------------
A filter without wildcards is one dictionary entry. A filter with wildcards is a path in a
tree, one node per level. Matching walks the tree with at most two branches per level ("+" and
the level itself), so its cost follows the depth of the topic and the filters that match, never
the number of filters stored. Empty nodes are removed, so the tree is as large as its filters.
"""

import re
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import Subscription
from broker.wire.reasons import Reason

SHARED = "$share/"
SYS_ROOT = "$SYS"
SYS = "$SYS/"  # topics of the broker itself
# Of one subscription and of one level of a tree, besides their text, measured with tracemalloc.
SUBSCRIPTION_BYTES = 500
NODE_BYTES = 350
CONTROL = re.compile("[\\x01-\\x1f\\x7f-\\x9f]")

_NOTHING: dict[Any, Any] = {}  # never written to; most nodes have children or subscribers only

S = TypeVar("S")


def validate_topic(topic: str) -> None:
    """Raise for an invalid topic name."""
    if not topic:  # [MQTT-4.7.3-1]
        raise RemoteProtocolError("cannot publish: empty topic")
    if "+" in topic or "#" in topic:  # [MQTT-3.3.2-2] [MQTT-4.7.0-1]
        raise RemoteProtocolError("cannot publish: wildcard in topic")
    refuse_control_characters(topic)


def validate_response_topic(topic: str | None) -> None:
    """Raise for an invalid topic name; None is valid."""  # [MQTT-3.3.2-14]
    if topic is not None:
        validate_topic(topic)


def refuse_control_characters(name: str) -> None:
    """Raise for characters that could forge a log line."""  # optional: section 1.5.4
    if CONTROL.search(name):
        raise RemoteProtocolError("control character in a name", Reason.MALFORMED_PACKET)


def validate_filter(topic_filter: str) -> None:
    """Raise for an invalid topic filter."""
    refuse_control_characters(topic_filter)
    if topic_filter.startswith(SHARED):
        group, _, topic_filter = topic_filter.removeprefix(SHARED).partition("/")
        if not group or "+" in group or "#" in group:  # [MQTT-4.8.2-1] [MQTT-4.8.2-2]
            raise RemoteProtocolError("cannot subscribe: bad share name", Reason.MALFORMED_PACKET)
    if not topic_filter:  # [MQTT-4.7.3-1]
        raise RemoteProtocolError("cannot subscribe: empty filter", Reason.MALFORMED_PACKET)
    if "#" not in topic_filter and "+" not in topic_filter:
        return
    levels = topic_filter.split("/")
    if topic_filter.count("#") > (levels[-1] == "#"):  # [MQTT-4.7.1-1] the last level, alone
        raise RemoteProtocolError("cannot subscribe: misplaced #", Reason.MALFORMED_PACKET)
    if topic_filter.count("+") > levels.count("+"):  # [MQTT-4.7.1-2] a level, alone
        raise RemoteProtocolError("cannot subscribe: misplaced +", Reason.MALFORMED_PACKET)


def has_wildcard(topic_filter: str) -> bool:
    """Return whether a filter may match more than one topic."""
    return "+" in topic_filter or "#" in topic_filter


def strip_share(topic_filter: str) -> str:
    """Return the topic filter of a shared subscription, or the filter itself."""
    if not topic_filter.startswith(SHARED):
        return topic_filter
    return topic_filter.removeprefix(SHARED).partition("/")[2]


def is_match(topic_filter: str, topic: str) -> bool:
    """Return whether one filter matches one topic."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in {"#", "+"}:  # [MQTT-4.7.2-1]
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in {"+", levels[index]}:  # [MQTT-4.7.3-4]
            return False
    return len(wanted) == len(levels)


def covers(allowed: str, wanted: str) -> bool:
    """Return whether every topic that the wanted filter matches also matches the allowed one."""
    if wanted.startswith("$") and not allowed.startswith("$"):  # [MQTT-4.7.2-1]
        return False
    allowed_levels, wanted_levels = allowed.split("/"), wanted.split("/")
    for position, level in enumerate(allowed_levels):
        if level == "#":
            return True
        if position == len(wanted_levels):
            return False
        asked = wanted_levels[position]
        if asked == "#" or (level not in ("+", asked)):
            return False
    return len(allowed_levels) == len(wanted_levels)


class _Node(Generic[S]):
    __slots__ = ("children", "subscribers")

    def __init__(self) -> None:
        self.children: dict[str, _Node[S]] = _NOTHING
        self.subscribers: dict[S, Subscription] = _NOTHING


class SubscriptionTree(Generic[S]):
    """Maps topics to the subscriptions that match them."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[S, Subscription]] = {}
        self._root: _Node[S] = _Node()
        self.size_bytes = 0  # approximate

    def add(self, subscriber: S, subscription: Subscription) -> None:
        """Store a subscription; it replaces that of the same filter."""  # [MQTT-3.8.4-3]
        topic_filter = subscription.topic_filter
        subscribers = self._open_entry(topic_filter)
        if subscriber not in subscribers:
            self.size_bytes += SUBSCRIPTION_BYTES + len(topic_filter)
        subscribers[subscriber] = subscription  # [MQTT-3.8.4-3] [MQTT-3.8.4-4]

    def remove(self, subscriber: S, topic_filter: str) -> None:
        """Forget a subscription; harmless when there is none."""
        if not has_wildcard(topic_filter):
            subscribers = self._exact.get(topic_filter, {})
            self._take(subscribers, subscriber, topic_filter)
            if not subscribers:
                self._exact.pop(topic_filter, None)
            return
        path: list[tuple[_Node[S], str]] = []
        node = self._root
        for level in topic_filter.split("/"):
            path.append((node, level))
            child = node.children.get(level)
            if child is None:
                return
            node = child
        self._take(node.subscribers, subscriber, topic_filter)
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.subscribers or child.children:
                return
            del parent.children[level]
            self.size_bytes -= NODE_BYTES + len(level)

    def match(self, topic: str) -> Iterator[tuple[S, Subscription]]:
        """Yield every subscription that a topic matches; a subscriber may appear more than once."""
        yield from self._exact.get(topic, {}).items()
        levels = topic.split("/")
        nodes = [self._root]
        for index, level in enumerate(levels):
            # [MQTT-4.7.2-1] a leading wildcard does not match $SYS and its like
            wild = index > 0 or not level.startswith("$")
            following = []
            for node in nodes:
                children = node.children
                if wild and "#" in children:
                    yield from children["#"].subscribers.items()
                if wild and "+" in children:
                    following.append(children["+"])
                if level in children:  # [MQTT-4.7.3-4]
                    following.append(children[level])
            nodes = following
            if not nodes:
                return
        for node in nodes:
            yield from node.subscribers.items()
            if "#" in node.children:  # "a/#" matches "a" itself
                yield from node.children["#"].subscribers.items()

    def _open_entry(self, topic_filter: str) -> dict[S, Subscription]:
        """Return the subscribers of a filter, from a node made if necessary."""
        if not has_wildcard(topic_filter):
            return self._exact.setdefault(topic_filter, {})
        node = self._root
        for level in topic_filter.split("/"):
            child = node.children.get(level)
            if child is None:
                child = _Node()
                if node.children is _NOTHING:
                    node.children = {}
                node.children[level] = child
                self.size_bytes += NODE_BYTES + len(level)
            node = child
        if node.subscribers is _NOTHING:
            node.subscribers = {}
        return node.subscribers

    def _take(self, subscribers: dict[S, Subscription], subscriber: S, topic_filter: str) -> None:
        if subscribers.pop(subscriber, None) is not None:
            self.size_bytes -= SUBSCRIPTION_BYTES + len(topic_filter)
