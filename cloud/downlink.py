"""Refuses commands that do not fit into the queue of their node, so that senders are told.

Commands wait in the session that a node's uplink keeps at the cloud's broker. Without this hook
the broker would drop and count what does not fit, and acknowledge it.
"""

from collections.abc import Callable

from broker import NO_ROOM, Broker, Message
from broker.hooks import NoRoom

COMMANDS = "nodes/+/down/#"


class CommandGate:
    """Asks, for each command, whether its node's session takes it."""

    def __init__(self, broker: Broker, refused: Callable[[], None]) -> None:
        self._broker, self._refused = broker, refused
        broker.hooks.on_publish(COMMANDS, self._check)

    def _check(self, message: Message) -> Message | NoRoom:
        node_id = message.topic.split("/", 2)[1]
        if message.qos and not self._broker.has_room(node_id, message.size_bytes):
            self._refused()
            return NO_ROOM
        return message
