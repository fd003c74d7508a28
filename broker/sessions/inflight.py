"""Tracks the QoS 1 and 2 messages in flight to one client.

Theory of operation
-------------------
A packet offered is in flight under a packet id until its PUBACK comes; at QoS 2 its PUBREC turns
it into a PUBREL, in flight under the same id until its PUBCOMP comes. Four rules hold after every
call:

1. At most ``window`` packets are sent and not acknowledged on this connection.
2. A packet id belongs to one packet until that is acknowledged, reconnects included.
3. Nothing is dropped silently: offer() returns how many packets it took.
4. While packets wait to be sent again, nothing new is taken. [MQTT-4.6.0-1]

Packet ids are kept as the two bytes of the wire: they are cut out of one packet and joined into
another; no code counts with them. speed: saves two conversions a message.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from broker.sessions.send_order import SendOrder
from broker.wire.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from broker.messages.delivery import Delivery
    from broker.quota.counters import BrokerCounters
    from broker.sessions.persistence import SessionPersistence
    from broker.wire.raw_publish import Parts

MAX_PACKET_ID = 65_535
DUPLICATE = 0x08
PUBREL = b"\x62\x02"  # then the packet id; the short form, which says success in MQTT 5
POOL_STEP = 16  # ids made at a time: an idle client holds none, and an id is not reused at once

_NO_IDS: deque[bytes] = deque(maxlen=0)  # an empty deque of its own would cost 600 bytes a client


class Inflight:
    """Sends each packet until it is acknowledged, in order, within the window."""

    __slots__ = (
        "_append", "_counters", "_ids_made", "_kept_back", "_limit_bytes", "_limit_bytes_total",
        "_max_packet_id", "_pool", "_qos2", "_unsent", "assigned", "is_paused", "packets",
        "recorder", "size_bytes", "window",
    )  # fmt: skip

    def __init__(
        self,
        counters: BrokerCounters,
        limit_bytes: int,
        limit_bytes_total: int,
        max_packet_id: int = MAX_PACKET_ID,
    ) -> None:
        self.assigned: dict[bytes, Delivery] | None = None  # by packet id; of shared subscriptions
        self.recorder: SessionPersistence | None = None  # of a stored session
        self.window = 0
        self.is_paused = True  # the state: offer() takes nothing; open() and pause() change it
        self._append: Callable[[bytes], None] = _send_nothing  # speed: bound once per open()
        # by packet id: PUBLISHes in the order first sent, PUBRELs in the order of their PUBRECs
        self.packets: dict[bytes, bytes] = {}
        self.size_bytes = 0
        self._counters = counters  # queued_bytes there is the sum over all clients
        self._limit_bytes = limit_bytes
        self._limit_bytes_total = limit_bytes_total
        self._max_packet_id = max_packet_id
        self._pool = _NO_IDS
        self._ids_made = 0
        self._kept_back: SendOrder | None = None  # of a stored session; made for its first QoS 2
        self._qos2: set[bytes] | None = None  # ids of QoS 2; made for the first one
        self._unsent: list[bytes] = []  # ids to be sent again on this connection, last one first

    @property
    def free_slots(self) -> int:
        """The number of further packets that may be sent now."""
        if self._unsent or self.size_bytes >= self._limit_bytes:
            return 0
        # no client holds more than the rest for all (message_queue.py, rule 1)
        if self._counters.queued_bytes + self.size_bytes >= self._limit_bytes_total:
            return 0
        return self.window - len(self.packets)  # [MQTT-3.3.4-9] [MQTT-4.9.0-2]

    @property
    def last_id(self) -> bytes:
        """The packet id of the packet that was offered last."""
        return next(reversed(self.packets))

    def open(self, append: Callable[[bytes], None]) -> None:
        """Take packets for a connection from now on."""
        kept_back = self._kept_back
        self._append = kept_back.append if kept_back else append
        self.is_paused = False

    def pause(self) -> None:
        """Take no packets until open()."""
        self.is_paused = True

    def set_recorder(self, recorder: SessionPersistence | None) -> None:
        """Record what happens, or no more."""
        self.recorder = recorder

    def offer(self, parts: Sequence[Parts]) -> int:
        """Send the first ones that fit; return how many."""
        if self.is_paused:
            return 0
        append = self._append
        free_slots = self.free_slots
        if free_slots < len(parts):
            parts = parts[: max(free_slots, 0)]
        packets, pool, size = self.packets, self._pool, 0
        for head, body in parts:
            if not pool:
                pool = self._make_ids()
            packet_id = pool.popleft()  # [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]
            packet = head + packet_id + body
            packets[packet_id] = packet  # [MQTT-4.3.2-3] [MQTT-4.3.3-3]
            append(packet)  # [MQTT-4.3.2-2] [MQTT-4.3.3-2]
            size += len(packet)
        self.size_bytes += size
        self._counters.queued_bytes += size
        return len(parts)

    def offer_qos2(self, parts: Sequence[Parts]) -> int:
        """Send the first QoS 2 packets that fit; return how many."""
        sent = self.offer(parts)
        if sent:
            if self._qos2 is None:
                self._qos2 = set()
            self._qos2.update(islice(reversed(self.packets), sent))
        return sent

    def take_qos2(self, parts: Parts) -> bytes | None:
        """Take a QoS 2 packet that send_taken() will send; return its id, None: it does not fit.

        Packets offered meanwhile are sent behind it.
        """
        if self.is_paused:
            return None
        append = self._append
        self._append = _send_nothing
        if not self.offer_qos2((parts,)):
            self._append = append
            return None
        packet_id = self.last_id
        if self._kept_back is None:
            self._kept_back = SendOrder()
        self._kept_back.hold(packet_id)
        self._append = self._kept_back.append
        return packet_id

    def send_taken(self, packet_id: bytes, append: Callable[[bytes], None]) -> None:
        """Send a packet that was taken, and those behind it, once none stands before it."""
        if self._kept_back is not None:
            self._kept_back.settle(packet_id)
            self._send_kept_back(self._kept_back, append)

    def give_up_taken(self, packet_id: bytes, append: Callable[[bytes], None] | None) -> bool:
        """Forget a packet that was taken; return whether it was there.

        append is None when the connection has ended.
        """
        if self._kept_back is not None:
            self._kept_back.give_up(packet_id)
            if append is not None:
                self._send_kept_back(self._kept_back, append)
        return self.finish(packet_id, released=False)

    def _send_kept_back(self, kept_back: SendOrder, append: Callable[[bytes], None]) -> None:
        for packet in kept_back.take_ready(self.packets):
            if not packet.startswith(PUBREL):
                append(packet)
        if not kept_back and not self.is_paused:
            self._append = append

    def last_ids(self, count: int) -> list[bytes]:
        """Return the ids of the packets offered last, in order."""
        return list(islice(reversed(self.packets), count))[::-1]

    def assign(self, delivery: Delivery) -> None:
        """Note the message of the last packet, so that another group member can get it."""
        if self.assigned is None:
            self.assigned = {}
        self.assigned[self.last_id] = delivery

    def acknowledge(self, packet_ids: Iterable[bytes]) -> int:
        """Note PUBACKs; return how many match nothing in flight.

        Raises RemoteProtocolError for one in flight at QoS 2; those before it are noted.
        """
        wrong = None
        if self._qos2:
            asked = tuple(packet_ids)
            wrong = next((each for each in asked if each in self._qos2), None)
            packet_ids = asked if wrong is None else asked[: asked.index(wrong)]
        unknown = self._acknowledge(packet_ids)
        if wrong is not None:
            self._counters.refused["unknown_packet_id"] += unknown
            raise _wrong_answer("PUBACK")
        return unknown

    def _acknowledge(self, packet_ids: Iterable[bytes]) -> int:
        take, give, size, unknown = self.packets.pop, self._pool.append, 0, 0
        if self.recorder is not None:
            packet_ids = tuple(packet_ids)
            self.recorder.acknowledged(packet_ids)
        if self.assigned:
            packet_ids = tuple(packet_ids)
            for packet_id in packet_ids:
                self.assigned.pop(packet_id, None)  # [MQTT-4.8.2-6]
        for packet_id in packet_ids:
            packet = take(packet_id, None)
            if packet is None:
                unknown += 1
            else:
                give(packet_id)
                size += len(packet)
        self._account(-size)
        return unknown

    def is_exact(self, packet_id: bytes) -> bool:
        """Return whether a QoS 2 message is in flight under an id."""
        return self._qos2 is not None and packet_id in self._qos2

    def is_released(self, packet_id: bytes) -> bool:
        """Return whether a PUBREL is in flight under an id."""
        return self.is_exact(packet_id) and self.packets[packet_id].startswith(PUBREL)

    def release(self, packet_id: bytes) -> bytes | None:
        """Note a PUBREC; return the PUBREL that answers it, None when nothing is in flight."""
        if self._qos2 is None or packet_id not in self._qos2:
            if packet_id in self.packets:
                raise _wrong_answer("PUBREC")
            return None
        packet = self.packets.pop(packet_id)  # [MQTT-4.6.0-4]
        # [MQTT-4.3.3-6] from now on only the PUBREL is sent; the id is used until PUBCOMP
        release = self.packets[packet_id] = PUBREL + packet_id  # [MQTT-4.3.3-5] [MQTT-2.2.1-5]
        self._account(len(release) - len(packet))
        return release

    def finish(self, packet_id: bytes, *, released: bool) -> bool:
        """Note a PUBCOMP, or a PUBREC that refuses; return whether it ends a packet in flight.

        released is True for a PUBCOMP, which ends a PUBREL; a refusal ends a PUBLISH.
        """
        if self._qos2 is None or packet_id not in self._qos2:
            if packet_id in self.packets:
                raise _wrong_answer("PUBCOMP" if released else "PUBREC")
            return False
        packet = self.packets[packet_id]
        if packet.startswith(PUBREL) != released:
            if released:  # [MQTT-4.3.3-3] nothing was released yet
                raise _wrong_answer("PUBCOMP")
            return False
        del self.packets[packet_id]
        self._qos2.remove(packet_id)
        self._pool.append(packet_id)
        self._account(-len(packet))
        if self.recorder is not None:
            if released:
                self.recorder.completed(packet_id)
            else:
                self.recorder.acknowledged((packet_id,))
        return True

    def restore(self, packets: dict[bytes, bytes], qos2: set[bytes]) -> None:
        """Take the packets in flight from the store."""
        self.packets = packets
        self._qos2 = qos2 or None
        self._account(sum(map(len, packets.values())))
        if not packets:
            return
        used = {int.from_bytes(each, "big") for each in packets}
        self._ids_made = max(used, default=0)
        free = (each for each in range(1, self._ids_made) if each not in used)
        self._pool = deque(each.to_bytes(2, "big") for each in free)

    def resume(self, window: int, packets: dict[bytes, bytes]) -> None:
        """Start a connection: all in flight must be sent again, at most window at a time.

        packets are those in flight, in the form for the new connection; missing ones are
        given up.
        """
        self.window = window  # [MQTT-4.9.0-1]
        self._kept_back = None  # all of it is sent again
        if not self.packets:
            self._unsent.clear()
            return
        self._account(sum(map(len, packets.values())) - self.size_bytes)
        self._pool.extend(self.packets.keys() - packets.keys())
        if self._qos2 is not None:
            self._qos2 &= packets.keys()
        if self.assigned:
            self.assigned = {each: self.assigned[each] for each in packets if each in self.assigned}
        self.packets = packets
        self._unsent = list(reversed(packets))  # [MQTT-4.4.0-1] [MQTT-4.6.0-1]

    @property
    def is_sending_again(self) -> bool:
        """True while packets of the last connection are not all sent again."""
        return bool(self._unsent)

    def send_again(self, append: Callable[[bytes], None]) -> None:
        """Send again the next packets of the last connection, within the window."""
        while self._unsent and len(self.packets) - len(self._unsent) < self.window:
            packet = self.packets.get(self._unsent.pop())  # [MQTT-4.3.3-7] expired or not
            if packet is not None:
                # [MQTT-4.4.0-1] same packet id; [MQTT-3.3.1-1] DUP set, of a PUBLISH
                first = packet[0] if packet.startswith(PUBREL) else packet[0] | DUPLICATE
                append(bytes((first,)) + packet[1:])

    def clear(self) -> None:
        """Forget all packets; the session has ended."""
        self.pause()
        self._account(-self.size_bytes)
        self.packets = {}
        self._qos2 = self.assigned = self._kept_back = None
        self._unsent.clear()

    def _account(self, size: int) -> None:
        self.size_bytes += size
        self._counters.queued_bytes += size

    def _make_ids(self) -> deque[bytes]:
        # A free id exists: the window is never larger than the id space.
        first = self._ids_made + 1
        last = min(self._ids_made + POOL_STEP, self._max_packet_id)
        if self._pool is _NO_IDS:
            self._pool = deque()
        self._pool.extend(packet_id.to_bytes(2, "big") for packet_id in range(first, last + 1))
        self._ids_made = last
        return self._pool


def _send_nothing(packet: bytes) -> None:
    """Send nothing yet."""


def _wrong_answer(name: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{name} for a packet id that waits for another answer")


def split_packet_ids(pubacks: bytes) -> Iterable[bytes]:
    """Return the packet ids of a run of four-byte PUBACKs."""
    return (pubacks[at : at + 2] for at in islice(range(2, len(pubacks), 4), None))
