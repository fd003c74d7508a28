"""Opens raw MQTT connections, and runs readers and writers on them.

Everything is counted, and the bytes themselves are compared while a run is on: a QoS 0 stream must
equal the ring that was sent, byte for byte, and a QoS 1 stream must carry its numbers in order.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

from benchmarks.errors import PeerError
from benchmarks.packets import (
    CONNACK_ACCEPTED,
    NUMBER_BYTES,
    PUBACK_BYTES,
    PUBLISH_QOS_1,
    READ_BYTES,
    Ring,
    encode_connect,
    encode_pubacks,
    encode_suback,
    encode_subscribe,
    packet_id_of,
    read_numbers,
)
from benchmarks.transport import BUSY, BenchConnection, BrokerEndpoint


def open_client(
    endpoint: BrokerEndpoint,
    client_id: str,
    *,
    subscribe: tuple[str, int] | None = None,
    clean: bool = True,
) -> BenchConnection:
    """Return a non-blocking connection that the broker accepted, subscribed if asked for."""
    connection = endpoint.open()
    try:
        request = encode_connect(client_id, clean=clean)
        exchange(connection, request, CONNACK_ACCEPTED, f"connect {client_id}")
        if subscribe is not None:
            topic_filter, qos = subscribe
            request = encode_subscribe(topic_filter, qos)
            exchange(connection, request, encode_suback(qos), f"subscribe to {topic_filter}")
        connection.setblocking(False)
    except BaseException:
        connection.close()
        raise
    return connection


class PacketReader(Protocol):
    """Counts what comes on one connection, and whether it came in order."""

    connection: BenchConnection
    disordered: int

    @property
    def received(self) -> int: ...

    def read(self) -> None: ...


class Sender:
    """Sends a ring of publishes up to a number of packets that only grows."""

    def __init__(self, connection: BenchConnection, ring: Ring) -> None:
        self.connection = connection
        self.ring = ring
        self.granted = 0
        self._view = memoryview(ring.data)
        self._sent_bytes = 0

    def send(self) -> bool:
        """Send what is granted; return False if the socket takes no more now."""
        until = self.ring.measure(self.granted)
        while self._sent_bytes < until:
            offset = self._sent_bytes % self.ring.period_bytes
            end = min(offset + until - self._sent_bytes, len(self._view))
            try:
                self._sent_bytes += self.connection.send(self._view[offset:end])
            except BUSY:
                return False
        return True


class AckCounter:
    """Counts the PUBACKs a publisher gets, which must come in the order of its packets."""

    def __init__(self, connection: BenchConnection, ring: Ring) -> None:
        self.connection = connection
        self.received = 0
        self.disordered = 0
        self._buffer = bytearray(READ_BYTES)
        self._held = 0
        ids = map(packet_id_of, range(ring.count))
        repeats = 1 + -(-READ_BYTES // PUBACK_BYTES // ring.count)
        self._expected = b"".join(b"\x40\x02" + n.to_bytes(2, "big") for n in ids) * repeats
        self._period = ring.count

    def read(self) -> None:
        """Read once and count."""
        held = receive(self.connection, self._buffer, self._held)
        whole = held // PUBACK_BYTES
        used = whole * PUBACK_BYTES
        at = self.received % self._period * PUBACK_BYTES
        if not self._expected.startswith(memoryview(self._buffer)[:used], at):
            self.disordered += 1
        self.received += whole
        self._held = keep_tail(self._buffer, used, held)


class RingReader:
    """Counts QoS 0 deliveries by their bytes, and compares every byte with the ring."""

    def __init__(self, connection: BenchConnection, ring: Ring) -> None:
        self.connection = connection
        self.disordered = 0
        self._ring = ring
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._received_bytes = 0
        self._offset = 0
        starts = ring.starts
        self._longest = 2 * max(end - start for start, end in pairwise(starts))

    @property
    def received(self) -> int:
        """Return how many whole packets have arrived."""
        return self._ring.count_whole(self._received_bytes)

    def read(self) -> None:
        """Read once, compare and count."""
        count = receive(self.connection, self._buffer, 0)
        if not self._ring.data.startswith(self._view[:count], self._offset):
            self.disordered += 1
            self._realign(count)
        self._received_bytes += count
        self._offset = (self._offset + count) % self._ring.period_bytes

    def _realign(self, count: int) -> None:
        """After a gap, go on from the first place of the ring that ends like this read."""
        tail = bytes(self._view[max(0, count - self._longest) : count])
        found = self._ring.data.find(tail)
        if found >= 0:
            self._offset = (found + len(tail) - count) % self._ring.period_bytes


class AckingReader:
    """Acknowledges QoS 1 deliveries, and checks kind and number of each."""

    def __init__(self, connection: BenchConnection, ring: Ring) -> None:
        self.connection = connection
        self.received = 0
        self.disordered = 0
        self._ring = ring
        self._buffer = bytearray(READ_BYTES)
        self._held = 0
        self._unsent = bytearray()
        last = ring.number_at + NUMBER_BYTES - 1
        self._columns = [(at, ring.column(at)) for at in (last - 1, last)]

    def read(self) -> None:
        """Read once, check, count and acknowledge."""
        held = receive(self.connection, self._buffer, self._held)
        size = self._ring.packet_bytes
        whole = held // size
        publishes = self._buffer[: whole * size]
        if not self._continues(publishes, whole):
            self.disordered += 1
        self.received += whole
        self._held = keep_tail(self._buffer, whole * size, held)
        self._unsent += encode_pubacks(publishes, self._ring)
        self._flush()

    def _continues(self, publishes: bytearray, whole: int) -> bool:
        size, at = self._ring.packet_bytes, self.received % self._ring.count
        return publishes[::size].count(PUBLISH_QOS_1) == whole and all(
            column.startswith(publishes[offset::size], at) for offset, column in self._columns
        )

    def _flush(self) -> None:
        # 4 bytes for each packet of 80: the socket takes them, or takes them at the next read
        try:
            del self._unsent[: self.connection.send(self._unsent)]
        except BUSY:
            return


class NumberReader:
    """Hands the number of each delivery to a callback; acknowledges at QoS 1."""

    def __init__(
        self, connection: BenchConnection, ring: Ring, on_number: Callable[[int], None]
    ) -> None:
        self.connection = connection
        self._ring = ring
        self._acknowledges = ring.data[0] == PUBLISH_QOS_1
        self._on_number = on_number
        self._buffer = bytearray(READ_BYTES)
        self._held = 0

    def read(self) -> None:
        """Read once and hand over what came."""
        held = receive(self.connection, self._buffer, self._held)
        used = held - held % self._ring.packet_bytes
        publishes = self._buffer[:used]
        self._held = keep_tail(self._buffer, used, held)
        if self._acknowledges and used:
            self.connection.sendall(encode_pubacks(publishes, self._ring))
        for number in read_numbers(publishes, self._ring):
            self._on_number(number)


def receive_exactly(connection: BenchConnection, count: int) -> bytes:
    """Return so many bytes from a connection that may block, or fewer when it ends."""
    received = b""
    while len(received) < count and (part := connection.recv(count - len(received))):
        received += part
    return received


def exchange(connection: BenchConnection, request: bytes, answer: bytes, what: str) -> None:
    """Send and expect exactly this answer."""
    connection.sendall(request)
    received = receive_exactly(connection, len(answer))
    if received != answer:
        raise PeerError(f"cannot {what}: broker answered {received.hex() or 'nothing'}")


def receive(connection: BenchConnection, buffer: bytearray, held: int) -> int:
    """Read behind what is held and return how much is held then."""
    try:
        count = connection.recv_into(memoryview(buffer)[held:])
    except BUSY:
        return held  # a part of a record or frame
    if not count:
        raise PeerError("cannot go on: the broker closed a connection")
    return held + count


def keep_tail(buffer: bytearray, used: int, held: int) -> int:
    """Move what was not used to the front and return its length."""
    tail = held - used
    buffer[:tail] = buffer[used:held]
    return tail
