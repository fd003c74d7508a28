"""Refuses commands that do not fit into the queue of their node, so that senders learn of it.

Commands wait in the session that a node's uplink keeps at the cloud's broker. Without this hook
the broker would drop, count and acknowledge a command that does not fit.
"""

from collections.abc import Callable

from broker import NO_ROOM, Broker, Message
from broker.messages.message import NoRoom

COMMANDS = "nodes/+/down/#"


class CommandGate:
    """Checks, for each command, whether the session of its node accepts it."""

    def __init__(self, broker: Broker, count_refusal: Callable[[], None]) -> None:
        self._broker, self._count_refusal = broker, count_refusal
        broker.hooks.on_publish(COMMANDS, self._check)

    def _check(self, message: Message) -> Message | NoRoom:
        node_id = message.topic.split("/", 2)[1]
        if message.qos and not self._broker.has_room(node_id, message.size_bytes):
            self._count_refusal()
            return NO_ROOM
        return message
