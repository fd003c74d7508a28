"""Publishes the messages of one cloud connection locally, and acknowledges them afterwards.

Theory of operation
-------------------
The session of this node at the cloud's broker stores a command until the node acknowledges it. The
node acknowledges it when the local broker has taken responsibility for it, according to the local
durability. Three rules:

1. The node acknowledges messages in the order of their arrival. [MQTT-4.6.0-2]
2. A message that the local broker cannot store now (its disk is full) leaves the queue, so that no
   other message waits behind it. It is published again every RETRY_S and stays unacknowledged.
3. The end of the connection closes this object; the cloud sends unacknowledged messages again.

The Receive Maximum of this node at the cloud's broker bounds the queue.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from broker import LocalClient, LocalProtocolError

logger = logging.getLogger(__name__)

RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class CloudMessage:
    """A message as the cloud's broker delivered it."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    expiry_s: float | None = None  # from now


@dataclass(eq=False, slots=True)
class _Unacknowledged:
    name: str  # of the local topic
    qos: int  # at the local broker
    message: CloudMessage
    is_safe: bool = False  # the local broker is responsible for it

    def mark_safe(self) -> None:
        self.is_safe = True


class InboundMessages:
    """The unacknowledged messages of one connection to the cloud."""

    def __init__(self, local: LocalClient, acknowledge: Callable[[int], None]) -> None:
        self._local, self._acknowledge = local, acknowledge
        self._queue: deque[_Unacknowledged] = deque()
        self._is_closed = False
        self.dropped = 0

    def close(self) -> None:
        """Acknowledge nothing more: the connection has ended."""
        self._is_closed = True
        self._queue.clear()

    def accept(self, message: CloudMessage) -> None:
        """Acknowledge, in order, a message that the local broker does not get."""
        if message.qos:
            self._queue.append(_Unacknowledged("", 0, message, is_safe=True))
            self._advance()

    def forward(self, name: str, qos: int, message: CloudMessage) -> None:
        """Publish a command under its local topic."""
        waiting = _Unacknowledged(name, qos, message)
        if message.qos:
            self._queue.append(waiting)
        self._submit(waiting)

    def _submit(self, waiting: _Unacknowledged) -> None:
        if self._is_closed:
            return
        message = waiting.message
        done = partial(self._decide, waiting) if message.qos else _ignore
        try:
            self._local.submit(
                waiting.name, message.payload, done, qos=waiting.qos, expiry_s=message.expiry_s
            )
        except LocalProtocolError as exc:
            self.dropped += 1
            logger.warning("cannot publish %.120s from the cloud: %s", message.topic, exc)
            done(True)  # a further attempt would fail, too

    def _decide(self, waiting: _Unacknowledged, ok: bool) -> None:
        if self._is_closed:
            return
        if not ok:
            if waiting in self._queue:
                logger.warning("cannot store a command of the cloud now; trying again")
                self._queue.remove(waiting)  # rule 2
            asyncio.get_running_loop().call_later(RETRY_S, self._submit, waiting)
        elif waiting in self._queue:
            waiting.mark_safe()
        else:
            self._acknowledge(waiting.message.packet_id)
        self._advance()

    def _advance(self) -> None:
        while self._queue and self._queue[0].is_safe:
            self._acknowledge(self._queue.popleft().message.packet_id)


def _ignore(_ok: bool) -> None:  # QoS 0 has no acknowledgement
    return
