"""The last retained message of each topic, within limits.

A tree like that of topics.py, so that a filter costs what it finds, not what is stored.
"""

from collections.abc import Iterator

from broker.message import Message


class _Node:
    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.message: Message | None = None


class _Unsafe:
    """A topic whose newest messages are not safe yet."""

    __slots__ = ("safe", "waiting")

    def __init__(self, safe: Message | None) -> None:
        self.safe = safe  # the last one that is
        self.waiting = 0


class RetainedStore:
    """Keeps, finds and forgets retained messages."""

    def __init__(self, messages_limit: int, bytes_limit: int) -> None:
        self._messages_limit = messages_limit
        self._bytes_limit = bytes_limit
        self._root = _Node()
        self._messages: dict[str, Message] = {}
        self._size_bytes = 0
        self._unsafe: dict[str, _Unsafe] = {}

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size_bytes(self) -> int:
        """What all of it costs, about."""
        return self._size_bytes

    def keep(self, message: Message) -> bool:
        """Keep the message instead of its topic's last; return False when there is no room."""
        last = self._messages.get(message.topic)
        grown = message.size_bytes - (last.size_bytes if last else 0)
        if last is None and len(self._messages) >= self._messages_limit:
            return False
        if self._size_bytes + grown > self._bytes_limit:
            return False
        node = self._root
        for level in message.topic.split("/"):
            node = node.children.setdefault(level, _Node())
        node.message = self._messages[message.topic] = message  # [MQTT-3.3.1-5]
        self._size_bytes += grown
        return True

    def forget(self, topic: str) -> None:
        """Remove a topic's message; harmless when there is none."""
        last = self._messages.pop(topic, None)
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
        """The next message of a topic, or its end, is not safe until settle() says so."""
        unsafe = self._unsafe.get(topic)
        if unsafe is None:
            unsafe = self._unsafe[topic] = _Unsafe(self._messages.get(topic))
        unsafe.waiting += 1

    def settle(self, topic: str, message: Message | None, *, ok: bool) -> None:
        """A topic's message, or its end, is safe; or cannot be kept: then the last safe one is."""
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
        return self._messages.get(topic)

    def match(self, topic_filter: str) -> Iterator[Message]:
        """Yield the messages of all topics a filter matches; do not change the store meanwhile."""
        if "+" not in topic_filter and "#" not in topic_filter:
            message = self._messages.get(topic_filter)
            if message is not None:
                yield message
            return
        nodes = [self._root]
        for index, level in enumerate(topic_filter.split("/")):
            if level == "#":
                for node in nodes:
                    if index and node.message is not None:
                        yield node.message
                    yield from _walk(node, is_root=index == 0)
                return
            if level == "+":
                nodes = [
                    child
                    for node in nodes
                    for name, child in node.children.items()
                    if index or not name.startswith("$")  # [MQTT-4.7.2-1]
                ]
            else:
                nodes = [node.children[level] for node in nodes if level in node.children]
        yield from (node.message for node in nodes if node.message is not None)


def _walk(start: _Node, *, is_root: bool) -> Iterator[Message]:
    # a stack of its own: topics may be deeper than Python's recursion
    stack = [
        child
        for name, child in start.children.items()
        if not (is_root and name.startswith("$"))  # [MQTT-4.7.2-1]
    ]
    while stack:
        node = stack.pop()
        if node.message is not None:
            yield node.message
        stack.extend(node.children.values())
