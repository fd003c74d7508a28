"""Decides when each message is handled, tried again and acknowledged.

Theory of operation
-------------------
A message arrives, waits, runs, may pause before its next try, is done. Six rules hold after every
call:

1. At most ``concurrency`` messages are running.
2. Messages of one topic run one after the other, in the order of their arrival, pauses included;
   with a width of n, at most n of them are running or paused.
3. Acknowledgements leave in the order of arrival [MQTT-4.6.0-2], each after its message is done.
4. At most ``queue_limit`` messages wait for their acknowledgement, and as many that need none are
   present. A further one is refused, never dropped silently. The broker's window has the same
   size, so QoS 1 does not reach this limit.
5. A lost connection takes its acknowledgements with it. Waiting messages are forgotten, because
   the broker sends them again; running and paused ones go on.
6. One that goes on, or was done meanwhile, takes the place of the same message when the broker
   sends it again in the same session (marked as a duplicate, same packet id and topic); so it is
   not handled twice.

The caller runs what take_start() returns, reports each end with finish() or pause(), and sends
what take_acks() returns. Between hold() and release() nothing starts.
"""

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Protocol


class TopicMessage(Protocol):
    """A message, of which only the topic matters here."""

    @property
    def topic(self) -> str: ...  # noqa: D102


@dataclass(slots=True, eq=False)
class QueuedMessage:
    """One message that waits for its handlers or runs in them."""

    message: TopicMessage
    packet_id: int  # 0: nothing to acknowledge
    running: bool = False  # or paused
    done: bool = False
    lost: bool = False  # its connection has ended


@dataclass(slots=True)
class _Lane:
    """The messages of one topic."""

    width: int
    active: int = 0  # startable, running or paused
    behind: deque[QueuedMessage] = field(default_factory=deque)


class HandlerQueue:
    """Orders messages, limits their number, and releases their acknowledgements."""

    def __init__(self, concurrency: int = 16, queue_limit: int = 256) -> None:
        self._concurrency = concurrency
        self._queue_limit = queue_limit
        self._startable: deque[QueuedMessage] = deque()
        self._lanes: dict[str, _Lane] = {}
        self._unacknowledged: deque[QueuedMessage] = deque()
        self._kept: dict[int, QueuedMessage] = {}  # of the last connection, by packet id; rule 6
        self._paused: list[tuple[float, int, QueuedMessage]] = []  # a heap, by the end of the pause
        self._numbers = count()
        self._unreliable = 0  # messages that need no acknowledgement
        self.running = 0
        self._held = False

    @property
    def deadline(self) -> float | None:
        """The end of the first pause."""
        return self._paused[0][0] if self._paused else None

    @property
    def waiting(self) -> int:
        """The number of messages that are not done."""
        return sum(lane.active + len(lane.behind) for lane in self._lanes.values())

    def arrive(
        self, message: TopicMessage, packet_id: int = 0, *, again: bool = False, width: int = 1
    ) -> bool:
        """Queue a message; return False when there are too many.

        again is set when the broker sends it once more after a lost connection.
        """
        here = len(self._unacknowledged) if packet_id else self._unreliable
        if here >= self._queue_limit:
            return False
        if packet_id in self._kept:
            kept = self._kept.pop(packet_id)
            if again and kept.message.topic == message.topic:  # rule 6
                kept.lost = False
                self._unacknowledged.append(kept)
                return True
        delivery = QueuedMessage(message, packet_id)
        if packet_id:
            self._unacknowledged.append(delivery)
        else:
            self._unreliable += 1
        lane = self._lanes.get(message.topic)
        if lane is None:
            lane = self._lanes[message.topic] = _Lane(width)
        if lane.active < lane.width:
            lane.active += 1
            self._startable.append(delivery)
        else:
            lane.behind.append(delivery)
        return True

    def hold(self) -> None:
        """Start nothing until release()."""
        self._held = True

    def release(self) -> None:
        """Let messages start again."""
        self._held = False

    def take_start(self, now: float) -> QueuedMessage | None:
        """Return, once, the next message to handle now."""
        while self._paused and self._paused[0][0] <= now:
            self._startable.appendleft(heappop(self._paused)[2])
        if self._held or not self._startable or self.running >= self._concurrency:
            return None
        delivery = self._startable.popleft()
        delivery.running = True
        self.running += 1
        return delivery

    def pause(self, delivery: QueuedMessage, until: float) -> None:
        """Note that a handler failed and is called again at an instant."""
        self.running -= 1
        heappush(self._paused, (until, next(self._numbers), delivery))

    def finish(self, delivery: QueuedMessage) -> None:
        """Note that the handlers of a message are done."""
        self.running -= 1
        delivery.done = True
        self._leave(delivery)

    def take_acks(self) -> list[int]:
        """Return, once, the packet ids to acknowledge now, in order."""
        packet_ids = []
        while self._unacknowledged and self._unacknowledged[0].done:
            packet_ids.append(self._unacknowledged.popleft().packet_id)
        return packet_ids

    def connected(self, *, session_present: bool) -> None:
        """Note a new connection; without its session the broker sends nothing again."""
        if not session_present:
            self._kept.clear()

    def disconnected(self) -> None:
        """Forget the messages that the broker will send again. Rules 5 and 6."""
        for delivery in self._unacknowledged:
            delivery.lost = True
            if delivery.running:  # or done
                self._kept[delivery.packet_id] = delivery
        self._unacknowledged.clear()
        waiting, self._startable = self._startable, deque()
        for lane in self._lanes.values():
            lane.behind = deque(each for each in lane.behind if not each.lost)
        for delivery in waiting:
            if delivery.lost and not delivery.running:
                self._leave(delivery)
            else:
                self._startable.append(delivery)

    def _leave(self, delivery: QueuedMessage) -> None:
        if not delivery.packet_id:
            self._unreliable -= 1
        topic = delivery.message.topic
        lane = self._lanes[topic]
        if lane.behind:
            self._startable.append(lane.behind.popleft())
            return
        lane.active -= 1
        if not lane.active:
            del self._lanes[topic]
