"""QoS 1 messages on their way to one client.

Theory of operation
-------------------
A packet offered is in flight under a packet id until its PUBACK comes. Four rules hold after
every call:

1. At most ``window`` packets are sent and not acknowledged on this connection.
2. A packet id belongs to one packet until its PUBACK comes, reconnects included.
3. Nothing is dropped silently: what does not fit is not taken, and offer() says so.
4. While packets wait to be sent again, nothing new is taken. [MQTT-4.6.0-1]

Packet ids are kept as the two bytes of the wire: they are cut out of one packet and joined into
another, and nobody ever counts with them. speed: saves two conversions a message.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from broker.counters import Counters

MAX_PACKET_ID = 65_535
DUPLICATE = 0x08
POOL_STEP = 16  # ids made at a time: an idle client holds none, and an id is not reused at once

_NO_IDS: deque[bytes] = deque(maxlen=0)  # an empty deque of its own would cost 600 bytes a client

Parts = tuple[bytes, bytes]  # of a PUBLISH: before and behind its packet id


class Inflight:
    """Sends each packet until it is acknowledged, in order, a few at a time."""

    __slots__ = ("_counters", "_ids_made", "_limit_bytes", "_limit_bytes_total", "_max_packet_id",
                 "_pool", "_unsent", "append", "packets", "size_bytes", "window")  # fmt: skip

    def __init__(
        self,
        counters: Counters,
        limit_bytes: int,
        limit_bytes_total: int,
        max_packet_id: int = MAX_PACKET_ID,
    ) -> None:
        self.window = 0
        self.append: Callable[[bytes], None] | None = None  # None: take nothing now
        self.packets: dict[bytes, bytes] = {}  # by packet id, in the order first sent
        self.size_bytes = 0
        self._counters = counters  # whose queued_bytes is the sum over all clients
        self._limit_bytes = limit_bytes
        self._limit_bytes_total = limit_bytes_total
        self._max_packet_id = max_packet_id
        self._pool = _NO_IDS
        self._ids_made = 0
        self._unsent: list[bytes] = []  # ids to be sent again on this connection, last one first

    @property
    def room(self) -> int:
        """How many more packets may be sent now."""
        if self._unsent or self.size_bytes >= self._limit_bytes:
            return 0
        if self._counters.queued_bytes >= self._limit_bytes_total:
            return 0
        return self.window - len(self.packets)

    def offer(self, parts: Sequence[Parts]) -> int:
        """Send the first ones that fit; return how many."""
        append = self.append
        if append is None:
            return 0
        room = self.room
        if room < len(parts):
            parts = parts[: max(room, 0)]
        packets, pool, size = self.packets, self._pool, 0
        for head, body in parts:
            if not pool:
                pool = self._make_ids()
            packet_id = pool.popleft()
            packet = head + packet_id + body
            packets[packet_id] = packet
            append(packet)
            size += len(packet)
        self._account(size)
        return len(parts)

    def acknowledge(self, packet_ids: Iterable[bytes]) -> int:
        """Note PUBACKs; return how many of them belong to nothing in flight."""
        take, give, size, unknown = self.packets.pop, self._pool.append, 0, 0
        for packet_id in packet_ids:
            packet = take(packet_id, None)
            if packet is None:
                unknown += 1
            else:
                give(packet_id)
                size += len(packet)
        self._account(-size)
        return unknown

    def resume(self, window: int, packets: dict[bytes, bytes]) -> None:
        """Start a connection: all in flight must be sent again, at most window at a time.

        packets are those in flight in the form the new connection wants; what is missing is
        given up.
        """
        self._account(sum(map(len, packets.values())) - self.size_bytes)
        self._pool.extend(self.packets.keys() - packets.keys())
        self.window = window
        self.packets = packets
        self._unsent = list(reversed(packets))

    def send_again(self, append: Callable[[bytes], None]) -> None:
        """Send what is due of what the last connection left behind."""
        while self._unsent and len(self.packets) - len(self._unsent) < self.window:
            packet = self.packets.get(self._unsent.pop())
            if packet is not None:
                # [MQTT-4.4.0-1] same packet id; [MQTT-3.3.1-1] DUP set
                append(bytes((packet[0] | DUPLICATE,)) + packet[1:])

    def clear(self) -> None:
        """Forget everything; the session has ended."""
        self.append = None
        self._account(-self.size_bytes)
        self.packets = {}
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


def split_packet_ids(pubacks: bytes) -> Iterable[bytes]:
    """Return the packet ids of a run of four-byte PUBACKs."""
    return (pubacks[at : at + 2] for at in islice(range(2, len(pubacks), 4), None))
