"""Queues the PUBACKs and PUBRECs that wait for a hold, in the order of their PUBLISHes.

Theory of operation
-------------------
Each waiting PUBLISH has one slot in a queue. Slots may be decided at any time, in any order, but
only decided slots at the head leave the queue. [MQTT-4.6.0-2] [MQTT-4.6.0-3]
"""

from collections import deque
from collections.abc import Callable, Iterator

from broker.wire.reasons import Reason


class AckSlot:
    """One PUBLISH that waits for its PUBACK or PUBREC."""

    __slots__ = ("packet_id", "qos", "queue", "run", "verdict")

    def __init__(
        self, queue: "AckQueue", packet_id: int, qos: int, run: tuple[bytes, ...] = ()
    ) -> None:
        self.queue = queue
        self.packet_id = packet_id
        self.qos = qos
        self.run = run  # packet ids of QoS 1 that are decided together, instead of packet_id
        self.verdict: Reason | None = None

    def decide(self, verdict: Reason) -> None:
        """Set the reason of the answer."""
        self.verdict = verdict
        self.queue.decided()

    def withdraw(self) -> None:
        """Remove the slot, which is the last: an earlier one gives the same answer."""
        self.queue.withdrawn(self)


class AckQueue:
    """Holds the acknowledgements of one client."""

    __slots__ = ("_count", "_on_ready", "_slots")

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready: Callable[[], None] | None = on_ready
        self._slots: deque[AckSlot] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def join(self, packet_id: int, qos: int = 1) -> AckSlot:
        """Add a slot at the end."""
        slot = AckSlot(self, packet_id, qos)
        self._slots.append(slot)
        self._count += 1
        return slot

    def join_run(self, packet_ids: tuple[bytes, ...]) -> AckSlot:
        """Add a slot at the end for several PUBLISHes of QoS 1."""
        slot = AckSlot(self, 0, 1, packet_ids)
        self._slots.append(slot)
        self._count += len(packet_ids)
        return slot

    def take_ready(self) -> Iterator[tuple[AckSlot, Reason]]:
        """Yield, once, the slots whose answers may withdraw now."""
        slots = self._slots
        while slots and (verdict := slots[0].verdict) is not None:
            slot = slots.popleft()
            self._count -= len(slot.run) or 1
            yield slot, verdict  # [MQTT-4.6.0-2] [MQTT-4.6.0-3]

    def decided(self) -> None:
        """Note that a slot was decided."""
        if self._on_ready is not None and self._slots and self._slots[0].verdict is not None:
            self._on_ready()

    def withdrawn(self, slot: AckSlot) -> None:
        """Remove the last slot."""
        assert self._slots[-1] is slot  # so no slot behind it becomes ready
        self._slots.pop()
        self._count -= 1

    def close(self) -> None:
        """Drop all slots, for the connection is closed; later decisions change nothing."""
        self._on_ready = None
        self._slots.clear()
        self._count = 0
