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


class RetainedStore:
    """Keeps, finds and forgets retained messages."""

    def __init__(self, messages_limit: int, bytes_limit: int) -> None:
        self._messages_limit = messages_limit
        self._bytes_limit = bytes_limit
        self._root = _Node()
        self._messages: dict[str, Message] = {}
        self._size_bytes = 0

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

    def get(self, topic: str) -> Message | None:
        """Return the message of one topic."""
        return self._messages.get(topic)

    def match(self, topic_filter: str) -> Iterator[Message]:
        """Yield the messages of all topics a filter matches."""
        return (message for message in self.walk(topic_filter) if message is not None)

    def walk(self, topic_filter: str) -> Iterator[Message | None]:
        """Yield what match() does, and None for every topic level looked at: a step of work.

        The store may change meanwhile: what is kept or forgotten then may be found, or not.
        """
        levels = topic_filter.split("/")
        if "+" not in levels and "#" not in levels:
            yield self._messages.get(topic_filter)
            return
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
