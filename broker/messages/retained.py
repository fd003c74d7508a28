"""Keeps the last retained message of each topic, within limits.

The store is a tree like that of topics.py: the cost of a filter follows the messages that it
matches, not the number stored.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice

from broker.messages.message import Message
from broker.messages.topics import SYS, is_match

EXPIRIES_SPARE = 64  # entries of the expiry heap, besides two for each message


class _Node:
    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.message: Message | None = None


class _Unsafe:
    """A topic with messages that are not safe yet."""

    __slots__ = ("safe", "waiting")

    def __init__(self, safe: Message | None) -> None:
        self.safe = safe  # the last safe message
        self.waiting = 0


class RetainedStore:
    """Keeps, finds and removes retained messages."""

    def __init__(
        self,
        messages_limit: int,
        bytes_limit: int,
        may_stay: Callable[[Message], bool] = lambda _: True,
    ) -> None:
        self._messages_limit = messages_limit
        self._bytes_limit = bytes_limit
        self._may_stay = (
            may_stay  # called when rights have changed; it removes messages that may not stay
        )
        self._doubted: set[str] = set()
        # time and topic; entries of replaced messages are skipped
        self._expiries: list[tuple[float, str]] = []
        self._root = _Node()
        self._messages: dict[str, Message] = {}  # [MQTT-3.1.2-7] of 3.1.1
        self._own: dict[str, Message] = {}  # $SYS: without limits, never stored, few
        self._size_bytes = 0
        self._unsafe: dict[str, _Unsafe] = {}

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size_bytes(self) -> int:
        """The approximate memory of all messages."""
        return self._size_bytes

    def keep(self, message: Message) -> bool:
        """Replace the message of a topic; return False when there is no room."""
        last = self._messages.get(message.topic)
        grown = message.size_bytes - (last.size_bytes if last else 0)
        if last is None and len(self._messages) >= self._messages_limit:
            return False
        if self._size_bytes + grown > self._bytes_limit:
            return False
        node = self._root
        for level in message.topic.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        node.message = self._messages[message.topic] = message  # [MQTT-3.3.1-5]
        self._size_bytes += grown
        self._doubted.discard(message.topic)
        if message.expires_at is not None:
            self._note_expiry(message.expires_at, message.topic)
        return True

    def keep_own(self, message: Message) -> None:
        """Keep a message of the broker itself, outside all limits."""
        self._own[message.topic] = message

    def forget(self, topic: str) -> None:
        """Remove a topic's message; harmless when there is none."""
        last = self._messages.pop(topic, None)
        self._doubted.discard(topic)
        if last is None:
            return
        self._size_bytes -= last.size_bytes
        path = []
        node = self._root
        for level in topic.split("/"):
            path.append((node, level))
            node = node.children[level]
        node.message = None
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.message is not None or child.children:
                return
            del parent.children[level]

    def wait(self, topic: str) -> None:
        """Note that the next message of a topic, or its removal, is not safe before settle()."""
        unsafe = self._unsafe.get(topic)
        if unsafe is None:
            unsafe = self._unsafe[topic] = _Unsafe(self._messages.get(topic))
        unsafe.waiting += 1

    def settle(self, topic: str, message: Message | None, *, ok: bool) -> None:
        """Note that a message or removal is safe, or failed: the last safe message returns."""
        unsafe = self._unsafe[topic]
        unsafe.waiting -= 1
        if not unsafe.waiting:
            del self._unsafe[topic]
        if ok:
            unsafe.safe = message
        elif self._messages.get(topic) is message:
            self.forget(topic)
            if unsafe.safe is not None:
                self.keep(unsafe.safe)

    def get(self, topic: str) -> Message | None:
        """Return the message of one topic."""
        message = self._messages.get(topic)
        if message is None:
            return self._own.get(topic)
        if topic in self._doubted:
            self._doubted.discard(topic)
            if not self._may_stay(message):
                return None
        return message

    def doubt(self) -> None:
        """Check each message before it is delivered again."""
        self._doubted = {topic for topic, each in self._messages.items() if each.publisher}

    def judge(self, count: int) -> None:
        """Check up to count of the messages in doubt."""
        for topic in tuple(islice(self._doubted, count)):
            self.get(topic)

    def take_expired(self, count: int, now: float) -> list[str]:
        """Return, once, the topics of up to count messages that have expired."""
        found: dict[str, None] = {}
        expiries = self._expiries
        while expiries and expiries[0][0] <= now and len(found) < count:
            _, topic = heappop(expiries)
            message = self._messages.get(topic)
            if message is not None and message.is_expired(now):
                found[topic] = None
        return list(found)

    def _note_expiry(self, expires_at: float, topic: str) -> None:
        expiries = self._expiries
        heappush(expiries, (expires_at, topic))
        if len(expiries) > 2 * len(self._messages) + EXPIRIES_SPARE:  # most are of replaced ones
            expiries[:] = [
                (each.expires_at, each.topic)
                for each in self._messages.values()
                if each.expires_at is not None
            ]
            heapify(expiries)

    def find_of(self, sender: str) -> list[str]:
        """Return the topics with a message of an identity."""
        return [topic for topic, each in self._messages.items() if each.sender == sender]

    def may_match(self, topic_filter: str) -> bool:
        """Return False when a filter surely matches nothing."""
        if "+" in topic_filter or "#" in topic_filter:
            return bool(self._messages or self._own)
        return topic_filter in self._messages or topic_filter in self._own

    def match(self, topic_filter: str) -> Iterator[Message]:
        """Yield the messages of all topics a filter matches."""
        return (message for message in self.walk(topic_filter) if message is not None)

    def walk(self, topic_filter: str) -> Iterator[Message | None]:
        """Yield the matching messages, and None for every topic level visited: a step of work.

        The store may change meanwhile: messages added or removed then may be found, or not.
        """
        levels = topic_filter.split("/")
        if "+" not in levels and "#" not in levels:
            yield self.get(topic_filter)
            return
        if topic_filter.startswith(SYS):
            yield from [each for each in self._own.values() if is_match(topic_filter, each.topic)]
        # a stack of its own: topics may be deeper than Python's recursion
        stack = [(self._root, 0)]
        while stack:
            node, depth = stack.pop()
            if depth == len(levels):
                yield node.message
                continue
            level = levels[depth]
            if level == "#":
                yield node.message  # "a/#" matches "a" itself
                yield from _walk(_find_children(node, level, depth))
                continue
            yield None
            stack += [(child, depth + 1) for child in _find_children(node, level, depth)]


def _find_children(node: _Node, level: str, depth: int) -> list[_Node]:
    if level not in {"+", "#"}:
        child = node.children.get(level)
        return [] if child is None else [child]
    if depth:
        return list(node.children.values())
    # [MQTT-4.7.2-1]
    return [child for name, child in node.children.items() if not name.startswith("$")]


def _walk(stack: list[_Node]) -> Iterator[Message | None]:
    while stack:
        node = stack.pop()
        yield node.message
        if node.children:
            stack.extend(node.children.values())
