"""Checks members of a shared subscription: exactly one of them receives each message."""

import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from benchmarks.packets import PUBLISH_QOS_1, READ_BYTES, Ring, encode_pubacks
from benchmarks.streams import PacketReader, keep_tail, receive
from benchmarks.transport import BUSY, BenchConnection

NEAR = 8192  # more than any window


class ShareReader:
    """Counts what one member gets, message by message; its own part must come in order.

    Numbers are those of the ring, which has at most 65,536 and many more than are under way: so a
    step back is known from the ring's new beginning.
    """

    def __init__(self, connection: BenchConnection, ring: Ring) -> None:
        self.connection = connection
        self.received = 0
        self.disordered = 0
        self.seen: Counter[int] = Counter()
        self.period = ring.count
        self._ring = ring
        self._last = -1
        self._acknowledges = ring.data[0] == PUBLISH_QOS_1
        self._buffer = bytearray(READ_BYTES)
        self._held = 0
        self._unsent = bytearray()

    def read(self) -> None:
        """Read once, count and, at QoS 1, acknowledge."""
        held = receive(self.connection, self._buffer, self._held)
        used = held - held % self._ring.packet_bytes
        publishes = self._buffer[:used]
        self._held = keep_tail(self._buffer, used, held)
        if used:
            self._note(read_low_numbers(publishes, self._ring))
        if self._acknowledges:
            self._unsent += encode_pubacks(publishes, self._ring)
            try:
                del self._unsent[: self.connection.send(self._unsent)]
            except BUSY:
                return

    def _note(self, numbers: list[int]) -> None:
        self.received += len(numbers)
        self.seen.update(numbers)
        steps_back = count_steps_back([self._last, *numbers], self._ring.count)
        self.disordered += steps_back > 0
        self._last = numbers[-1]


def read_low_numbers(publishes: bytearray, ring: Ring) -> list[int]:
    """Return the lower 16 bits of the numbers in whole publishes: by columns, not one by one."""
    size = ring.packet_bytes
    pairs = bytearray(2 * (len(publishes) // size))
    pairs[0::2] = publishes[ring.number_at + 3 :: size]
    pairs[1::2] = publishes[ring.number_at + 2 :: size]
    numbers = array("H", bytes(pairs))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def count_steps_back(numbers: Sequence[int], period: int) -> int:
    """Return how often a number does not follow the one before, on a ring of this size.

    Less than NEAR behind is behind; whatever else is ahead, for others get the numbers between.
    """
    if numbers[-1] - numbers[0] < period - NEAR and numbers == sorted(numbers):
        return 0
    steps = ((later - earlier) % period for earlier, later in pairwise(numbers))
    return sum(not 0 < step < period - NEAR for step in steps)


def cover_all(readers: Sequence[PacketReader], sent: int) -> bool:
    """Return whether the members together got each message exactly once."""
    seen: Counter[int] = Counter()
    period = 0
    for reader in readers:
        assert isinstance(reader, ShareReader)
        seen.update(reader.seen)
        period = reader.period
    whole, rest = divmod(sent, period)
    return all(seen[number] == whole + (number < rest) for number in range(period))
