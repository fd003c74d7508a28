"""Hands what one connection brings to the local broker, and acknowledges it when that has it.

Theory of operation
-------------------
A command waits in this node's session at the cloud's broker until it is acknowledged there. The
acknowledgement is sent when the local broker has taken responsibility: when all that must survive
is safe, as its durability has it. Three rules:

1. Messages are acknowledged in the order they came in. [MQTT-4.6.0-2]
2. What the local broker cannot keep now (its disk is full) is given to it again every RETRY_S and
   stays unacknowledged; it leaves the line, so that nothing waits behind it.
3. An end of the connection ends this object; the cloud sends again what was not acknowledged.

The line is bounded by what the cloud's broker has in flight to one client.
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
    expiry_s: float | None = None  # what is left of it


@dataclass(eq=False, slots=True)
class _Unacknowledged:
    name: str  # of the local topic
    qos: int  # at the local broker
    message: CloudMessage
    is_safe: bool = False


class InboundMessages:
    """What one connection to the cloud has brought and not acknowledged."""

    def __init__(self, local: LocalClient, acknowledge: Callable[[int], None]) -> None:
        self._local, self._acknowledge = local, acknowledge
        self._line: deque[_Unacknowledged] = deque()
        self._is_closed = False
        self.dropped = 0

    def close(self) -> None:
        """Acknowledge nothing more: the connection has ended."""
        self._is_closed = True
        self._line.clear()

    def accept(self, message: CloudMessage) -> None:
        """Acknowledge a message, in its turn, that needs nothing of the local broker."""
        if message.qos:
            self._line.append(_Unacknowledged("", 0, message, is_safe=True))
            self._advance()

    def forward(self, name: str, qos: int, message: CloudMessage) -> None:
        """Publish a command under its local topic."""
        waiting = _Unacknowledged(name, qos, message)
        if message.qos:
            self._line.append(waiting)
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
            done(True)  # it would be the same the next time

    def _decide(self, waiting: _Unacknowledged, ok: bool) -> None:
        if self._is_closed:
            return
        if not ok:
            if waiting in self._line:
                logger.warning("cannot keep a command of the cloud now; trying again")
                self._line.remove(waiting)  # rule 2
            asyncio.get_running_loop().call_later(RETRY_S, self._submit, waiting)
        elif waiting in self._line:
            waiting.is_safe = True
        else:
            self._acknowledge(waiting.message.packet_id)
        self._advance()

    def _advance(self) -> None:
        while self._line and self._line[0].is_safe:
            self._acknowledge(self._line.popleft().message.packet_id)


def _ignore(_ok: bool) -> None:  # a QoS 0 sender is told nothing
    return
