"""Keeps the packet ids of QoS 2 messages that a client has sent and not released.

Theory of operation
-------------------
An id is noted at the first PUBLISH and forgotten at its PUBREL; in between every PUBLISH with it
is the same message, which is not routed again. [MQTT-4.3.3-10] Rules after every call:

1. An id belongs to one message until its PUBREL comes, reconnects included; the message is
   forgotten only when it was refused.
2. An undecided message (it has a hold) has one slot in the queue of acknowledgements of the newest
   connection it came by.
3. The memory of the ids counts as queued bytes, for one client and for all.
"""

from collections.abc import Iterable

from broker.quota.counters import BrokerCounters
from broker.sessions.ack_queue import AckSlot
from broker.wire.reasons import Reason

FAILURE = Reason.UNSPECIFIED_ERROR  # speed: as in sessions/client.py
ID_BYTES = 150  # of one id: two sets, a dictionary and an int; an estimate, on the safe side


class InboundQos2:
    """The packet ids of the QoS 2 messages that one session has received."""

    __slots__ = ("_counters", "_limit", "_limit_bytes_total", "_slots", "ids", "unreleased")

    def __init__(self, counters: BrokerCounters, limit: int, limit_bytes_total: int) -> None:
        self.ids: set[int] = set()
        self.unreleased: set[int] = set()  # of those, PUBREC was sent on this connection
        self._slots: dict[int, AckSlot] = {}  # undecided
        self._counters = counters
        self._limit = limit
        self._limit_bytes_total = limit_bytes_total

    @property
    def is_full(self) -> bool:
        """True when no further packet id fits."""
        held = ID_BYTES * (len(self.ids) + 1)  # no client holds more than the rest for all
        if self._counters.queued_bytes + held > self._limit_bytes_total:
            return True
        return len(self.ids) >= self._limit

    @property
    def free_slots(self) -> int:
        """The number of further packet ids that surely fit."""
        left = (self._limit_bytes_total - self._counters.queued_bytes) // ID_BYTES - len(self.ids)
        return min(self._limit - len(self.ids), left // 2)

    def note_run(self, packet_ids: Iterable[bytes]) -> None:
        """Note messages whose PUBRECs are sent; their ids are in ids already."""
        numbers = [int.from_bytes(each, "big") for each in packet_ids]
        self.unreleased.update(numbers)
        self._counters.queued_bytes += ID_BYTES * len(numbers)

    def take(self, packet_id: int, slot: AckSlot) -> None:
        """Note a new message, which waits for its decision."""
        self.ids.add(packet_id)
        self._slots[packet_id] = slot
        self._counters.queued_bytes += ID_BYTES

    def repeat(self, packet_id: int, slot: AckSlot) -> None:
        """Answer a message that came again like the first, once that is decided."""
        before = self._slots.get(packet_id)
        if before is None:
            slot.decide(Reason.SUCCESS)
        elif before.queue is slot.queue:
            slot.withdraw()
        else:  # the line of the last connection is closed
            self._slots[packet_id] = slot

    def decide(self, packet_id: int, verdict: Reason) -> None:
        """Settle a message; a refused one may be published again."""
        slot = self._slots.pop(packet_id, None)
        if slot is None:  # the session has ended
            return
        if verdict >= FAILURE:
            self._forget(packet_id)  # [MQTT-4.3.3-9]
        slot.decide(verdict)

    def is_undecided(self, packet_id: int) -> bool:
        """Return whether a message waits for its PUBREC."""
        return packet_id in self._slots

    def release(self, packet_id: int) -> bool:
        """Note a PUBREL; return whether it belongs to a message."""
        if packet_id not in self.ids:
            return False
        self._forget(packet_id)  # [MQTT-4.3.3-12] [MQTT-4.3.3-13]
        return True

    def release_decided(self, packet_id: int) -> bool:
        """Note a PUBREL if it belongs to a decided message; return whether it does."""
        if packet_id not in self.ids or packet_id in self._slots:
            return False
        self._forget(packet_id)  # [MQTT-4.3.3-12] [MQTT-4.3.3-13]
        return True

    def restore(self, packet_ids: set[int]) -> None:
        """Take the packet ids from the store."""
        self.ids |= packet_ids
        self._counters.queued_bytes += ID_BYTES * len(packet_ids)

    def clear(self) -> None:
        """Forget all packet ids; the session has ended."""
        self._counters.queued_bytes -= ID_BYTES * len(self.ids)
        self.ids.clear()
        self.unreleased.clear()
        self._slots.clear()

    def _forget(self, packet_id: int) -> None:
        self.ids.remove(packet_id)
        self.unreleased.discard(packet_id)
        self._counters.queued_bytes -= ID_BYTES
