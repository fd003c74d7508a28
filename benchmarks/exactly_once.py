"""Exchanges the four packets of QoS 2, on both sides of the broker."""

from benchmarks.packets import (
    NUMBER_BYTES,
    PUBACK_BYTES,
    PUBLISH_QOS_2,
    READ_BYTES,
    Ring,
    packet_id_of,
)
from benchmarks.streams import keep_tail, receive
from benchmarks.transport import BUSY, BenchConnection

PUBREC, PUBREL, PUBCOMP = 0x50, 0x62, 0x70


class _Answers:
    """Sends the answers that are due, as far as the socket takes them."""

    def __init__(self, connection: BenchConnection) -> None:
        self._connection = connection
        self._unsent = bytearray()

    def send(self, answers: bytes | bytearray) -> None:
        """Send now what the socket takes, and the rest with the next answers."""
        self._unsent += answers
        try:
            del self._unsent[: self._connection.send(self._unsent)]
        except BUSY:
            return


class ReleaseCounter:
    """The publisher's side: answers each PUBREC, counts each PUBCOMP; ids must come in order."""

    def __init__(self, connection: BenchConnection, ring: Ring) -> None:
        self.connection = connection
        self.received = 0  # completed
        self.disordered = 0
        self._recorded = 0
        self._count = ring.count
        self._buffer = bytearray(READ_BYTES)
        self._held = 0
        self._answers = _Answers(connection)

    def read(self) -> None:
        """Read once, answer and count."""
        held = receive(self.connection, self._buffer, self._held)
        used = held - held % PUBACK_BYTES
        answers = bytearray()
        for at in range(0, used, PUBACK_BYTES):
            number = int.from_bytes(self._buffer[at + 2 : at + 4], "big")
            if self._buffer[at] == PUBREC:
                self.disordered += number != packet_id_of(self._recorded % self._count)
                self._recorded += 1
                answers += b"\x62\x02" + self._buffer[at + 2 : at + 4]
            else:
                expected = packet_id_of(self.received % self._count)
                self.disordered += self._buffer[at] != PUBCOMP or number != expected
                self.received += 1
        self._held = keep_tail(self._buffer, used, held)
        if answers:
            self._answers.send(answers)


class ExactReader:
    """The subscriber's side: answers PUBLISH and PUBREL, and checks the number of each PUBLISH."""

    def __init__(self, connection: BenchConnection, ring: Ring) -> None:
        self.connection = connection
        self.received = 0
        self.released = 0
        self.disordered = 0
        self._ring = ring
        self._buffer = bytearray(READ_BYTES)
        self._held = 0
        self._answers = _Answers(connection)

    def read(self) -> None:
        """Read once, check, count and answer."""
        held = receive(self.connection, self._buffer, self._held)
        buffer, at, answers = self._buffer, 0, bytearray()
        while at < held:
            size = PUBACK_BYTES if buffer[at] == PUBREL else self._ring.packet_bytes
            if at + size > held:
                break
            if buffer[at] == PUBREL:
                self.released += 1
                answers += b"\x70\x02" + buffer[at + 2 : at + 4]
            else:
                self._check(at)
                id_at = at + self._ring.packet_id_at
                answers += b"\x50\x02" + buffer[id_at : id_at + 2]
            at += size
        self._held = keep_tail(buffer, at, held)
        if answers:
            self._answers.send(answers)

    def _check(self, at: int) -> None:
        number_at = at + self._ring.number_at
        number = int.from_bytes(self._buffer[number_at : number_at + NUMBER_BYTES], "big")
        is_next = number == self.received % self._ring.count
        self.disordered += not is_next or self._buffer[at] != PUBLISH_QOS_2
        self.received += 1
