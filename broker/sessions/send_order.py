"""Keeps the order of packets behind QoS 2 messages whose packet ids are not safe yet.

Theory of operation
-------------------
A QoS 2 message of a stored session is sent once its packet id is safe (persistence.py, rule 2).
Packets for the same client that come meanwhile wait behind it, so that a QoS 1 message does not
overtake. Rules after every call:

1. The queue begins with a message that is not safe, or is empty.
2. Packets leave in the order in which they were added.

An entry of two bytes is the packet id of a QoS 2 message: no packet is so short.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKET_ID_BYTES = 2


class SendOrder:
    """Keeps packets in order until those before them may leave."""

    __slots__ = ("_queue", "_unsafe", "append")

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._unsafe: set[bytes] = set()
        self.append = self._queue.append  # adds a packet that has to wait

    def __bool__(self) -> bool:
        return bool(self._queue)

    def hold(self, packet_id: bytes) -> None:
        """Add a QoS 2 message that is not safe."""
        self._queue.append(packet_id)
        self._unsafe.add(packet_id)

    def settle(self, packet_id: bytes) -> None:
        """Note that a QoS 2 message is safe."""
        self._unsafe.discard(packet_id)

    def give_up(self, packet_id: bytes) -> None:
        """Forget a QoS 2 message that could not be stored."""
        if packet_id in self._unsafe:
            self._unsafe.remove(packet_id)
            self._queue.remove(packet_id)

    def take_ready(self, packets: Mapping[bytes, bytes]) -> Iterator[bytes]:
        """Yield, once, the packets that may be sent; packets has those in flight, by packet id."""
        queue, unsafe = self._queue, self._unsafe
        while queue:
            entry = queue[0]
            if len(entry) > PACKET_ID_BYTES:
                yield queue.popleft()
                continue
            if entry in unsafe:
                return
            packet = packets.get(queue.popleft())
            if packet is not None:
                yield packet
