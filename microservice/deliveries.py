"""Decides when each message is handled and acknowledged.

Theory of operation
-------------------
A message arrives, waits, is running, is done. Five rules hold after every call:

1. At most ``concurrency`` messages are running.
2. Messages of one topic run one after the other, in the order of their arrival.
3. Acknowledgements leave in the order of arrival [MQTT-4.6.0-2], each after its message is done.
4. At most ``queue_limit`` messages wait for their acknowledgement, and as many that need none are
   present. A further one is refused, never dropped silently. The broker's window has the same
   size, so QoS 1 does not reach this limit.
5. A lost connection takes its acknowledgements with it. Waiting messages are forgotten, because
   the broker sends them again; running ones continue and are not acknowledged.

The caller runs what take_starts() returns, reports each end with finish(), and sends what
take_acks() returns. Between hold() and release() nothing starts.
"""

from collections import deque
from dataclasses import dataclass

from microservice.message import Message


@dataclass(slots=True, eq=False)
class QueuedMessage:
    """One message that waits for its handlers or runs in them."""

    message: Message
    packet_id: int  # 0: nothing to acknowledge
    done: bool = False
    lost: bool = False  # its connection has ended


class HandlerQueue:
    """Orders messages, limits their number, and releases their acknowledgements."""

    def __init__(self, concurrency: int = 16, queue_limit: int = 256) -> None:
        self._concurrency = concurrency
        self._queue_limit = queue_limit
        self._startable: deque[QueuedMessage] = deque()
        # a topic is a key while one of its messages is startable or running
        self._behind: dict[str, deque[QueuedMessage]] = {}
        self._unacknowledged: deque[QueuedMessage] = deque()
        self._unreliable = 0  # messages that need no acknowledgement
        self.running = 0
        self._held = False

    def arrive(self, message: Message, packet_id: int = 0) -> bool:
        """Queue a message; return False when there are too many."""
        here = len(self._unacknowledged) if packet_id else self._unreliable
        if here >= self._queue_limit:
            return False
        delivery = QueuedMessage(message, packet_id)
        if packet_id:
            self._unacknowledged.append(delivery)
        else:
            self._unreliable += 1
        if message.topic in self._behind:
            self._behind[message.topic].append(delivery)
        else:
            self._behind[message.topic] = deque()
            self._startable.append(delivery)
        return True

    def hold(self) -> None:
        """Start nothing until release()."""
        self._held = True

    def release(self) -> None:
        """Let messages start again."""
        self._held = False

    def finish(self, delivery: QueuedMessage) -> None:
        """Note that the handlers of a message are done."""
        self.running -= 1
        delivery.done = True
        self._leave(delivery)

    def take_starts(self) -> list[QueuedMessage]:
        """Return, once, the messages to handle now."""
        starts: list[QueuedMessage] = []
        while self._startable and self.running < self._concurrency and not self._held:
            starts.append(self._startable.popleft())
            self.running += 1
        return starts

    def take_acks(self) -> list[int]:
        """Return, once, the packet ids to acknowledge now, in order."""
        packet_ids = []
        while self._unacknowledged and self._unacknowledged[0].done:
            packet_ids.append(self._unacknowledged.popleft().packet_id)
        return packet_ids

    def disconnected(self) -> None:
        """Forget the messages that the broker will send again."""
        for delivery in self._unacknowledged:
            delivery.lost = True
        self._unacknowledged.clear()
        for topic, behind in self._behind.items():
            self._behind[topic] = deque(d for d in behind if not d.lost)
        for delivery in [d for d in self._startable if d.lost]:
            self._startable.remove(delivery)
            self._leave(delivery)

    def _leave(self, delivery: QueuedMessage) -> None:
        if not delivery.packet_id:
            self._unreliable -= 1
        behind = self._behind[delivery.message.topic]
        if behind:
            self._startable.append(behind.popleft())
        else:
            del self._behind[delivery.message.topic]
