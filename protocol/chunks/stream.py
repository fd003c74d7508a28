"""Makes an ordered stream of bytes over a link that loses, repeats, reorders and spoils. Pure.

Theory of operation
-------------------
Each chunk carries the offset of its bytes in the stream and the offset that its sender expects
next, which acknowledges all before. Bytes that are not acknowledged in time are sent again, with
doubled waits. The receiver keeps bytes that came early, within its window.

Offsets count bytes, not chunks: so bytes that were lost may be sent again in smaller chunks. A link
does not always carry chunks of the size that it reports (Bluetooth stacks report an MTU that they
do not keep). When two tries do not bring a chunk over, all that is under way from it on goes back
into the queue, and leaves in chunks of half the size, down to MIN_CHUNK. Chance takes two tries as
well, so the size is doubled again after a number of chunks that passed at once. This number is
doubled each time: a link that lies costs less and less.

WINDOW_CHUNKS is below the queue of ten writes that a device has.
"""

from dataclasses import dataclass

from protocol.chunks.wire import MIN_CHUNK, OFFSETS, OVERHEAD, Chunk, decode_chunk

WINDOW_CHUNKS = 4
WINDOW_BYTES = 2048  # bytes under way; far less than half of all offsets
QUEUE_BYTES = 16 * 1024
FIRST_WAIT_S, LAST_WAIT_S = 0.3, 5.0
TRIES = 10
SHRINK_AFTER = 2
GROW_AFTER, GROW_AFTER_LAST = 16, 4096


@dataclass(slots=True)
class _Sent:
    """Bytes that are under way."""

    start: int  # from the beginning of the stream
    data: bytes
    due: float
    tries: int = 1


class ReliableStream:
    """One direction each way over one link."""

    def __init__(self, session: int, chunk_bytes: int) -> None:
        self._session = session
        self._largest = self._chunk_bytes = max(chunk_bytes, MIN_CHUNK)
        self._grow_after, self._passed = GROW_AFTER, 0
        self._queue = bytearray()  # not sent yet
        self._next = 0  # the offset of its first byte
        self._reached = 0  # the end of what was ever sent; beyond _next after bytes were taken back
        self._under_way: list[_Sent] = []
        self._expected = 0
        self._early: dict[int, bytes] = {}
        self._owes_ack = False
        self.failed = False  # a chunk did not pass in TRIES tries
        self.spoiled = 0  # chunks that were dropped

    @property
    def chunk_bytes(self) -> int:
        """The largest chunk that is sent now."""
        return self._chunk_bytes

    @property
    def is_idle(self) -> bool:
        """True when the other side has acknowledged everything."""
        return not self._queue and not self._under_way

    @property
    def received(self) -> int:
        """The bytes that have come in order."""
        return self._expected

    def send(self, data: bytes) -> bool:
        """Queue bytes; return False, and queue nothing, when there is no room for them."""
        if len(self._queue) + len(data) > QUEUE_BYTES:
            return False
        self._queue += data
        return True

    @property
    def room(self) -> int:
        """The bytes that can be queued now."""
        return max(QUEUE_BYTES - len(self._queue), 0)

    def receive(self, octets: bytes, *, takes_data: bool = True) -> bytes:
        """Take what the link brought; return the bytes of the stream that are in order now.

        Data that cannot be taken now are dropped, and sent again by the other side.
        """
        chunk = decode_chunk(octets)
        if chunk is None or chunk.session != self._session:
            self.spoiled += 1
            return b""
        self._acknowledge(chunk.ack)
        if not chunk.data or not takes_data:
            return b""
        self._owes_ack = True
        start = self._expected + _distance(self._expected, chunk.offset)
        if start + len(chunk.data) <= self._expected or start > self._expected + WINDOW_BYTES:
            return b""
        held = sum(map(len, self._early.values()))
        if len(chunk.data) > len(self._early.get(start, b"")) and (
            start <= self._expected or held + len(chunk.data) <= WINDOW_BYTES
        ):
            self._early[start] = chunk.data
        return self._take_in_order()

    def poll(self, now: float) -> list[bytes]:
        """Return the chunks to send now; with nothing else to say, the acknowledgement owed."""
        chunks = [self._repeat(sent, now) for sent in self._take_overdue(now)]
        room = self._chunk_bytes - OVERHEAD
        while self._queue and self._may_send():
            data = bytes(self._queue[:room])
            del self._queue[:room]
            self._under_way.append(_Sent(self._next, data, now + FIRST_WAIT_S))
            chunks.append(self._encode(self._next, data))
            self._next += len(data)
            self._reached = max(self._reached, self._next)
        if self._owes_ack and not chunks:
            chunks.append(self._encode(self._next, b""))
        self._owes_ack = False
        return chunks

    def next_due(self) -> float | None:
        """Return when poll() has to be called without a reason from outside; None: not."""
        return min((sent.due for sent in self._under_way), default=None)

    def _may_send(self) -> bool:
        bytes_under_way = sum(len(sent.data) for sent in self._under_way)
        return (
            not self.failed
            and len(self._under_way) < WINDOW_CHUNKS
            and bytes_under_way + self._chunk_bytes <= WINDOW_BYTES
        )

    def _take_overdue(self, now: float) -> list[_Sent]:
        """Return what has to be repeated; take it back when smaller chunks have to be tried."""
        overdue = [sent for sent in self._under_way if now >= sent.due]
        for sent in overdue:
            self._passed = 0
            if sent.tries >= TRIES:
                self.failed = True
                return []
            if sent.tries >= SHRINK_AFTER and len(sent.data) + OVERHEAD > MIN_CHUNK:
                self._shrink(sent)
                return overdue[: overdue.index(sent)]
        return overdue

    def _shrink(self, lost: _Sent) -> None:
        """Take everything from a chunk on back into the queue, for chunks of half its size."""
        half = max((len(lost.data) + OVERHEAD) // 2, MIN_CHUNK)
        self._chunk_bytes = min(self._chunk_bytes, half)
        self._grow_after = min(self._grow_after * 2, GROW_AFTER_LAST)
        first = self._under_way.index(lost)
        self._queue[:0] = b"".join(sent.data for sent in self._under_way[first:])
        self._next = lost.start
        del self._under_way[first:]

    def _repeat(self, sent: _Sent, now: float) -> bytes:
        sent.tries += 1
        sent.due = now + min(FIRST_WAIT_S * 2 ** (sent.tries - 1), LAST_WAIT_S)
        return self._encode(sent.start, sent.data)

    def _note_passed(self, sent: _Sent) -> None:
        """Try larger chunks again after enough that passed at once."""
        self._passed += sent.tries == 1
        if self._passed >= self._grow_after and self._chunk_bytes < self._largest:
            self._chunk_bytes = min(self._chunk_bytes * 2, self._largest)
            self._passed = 0

    def _acknowledge(self, ack: int) -> None:
        first = self._under_way[0].start if self._under_way else self._next
        reached = first + _distance(first, ack)
        if not first < reached <= self._reached:
            return
        if reached > self._next:  # bytes that were taken back have arrived
            del self._queue[: reached - self._next]
            self._next = reached
        left = []
        for sent in self._under_way:
            done = min(max(reached - sent.start, 0), len(sent.data))
            if done < len(sent.data):
                sent.start, sent.data = sent.start + done, sent.data[done:]
                left.append(sent)
            else:
                self._note_passed(sent)
        self._under_way = left

    def _take_in_order(self) -> bytes:
        taken = bytearray()
        for start in sorted(self._early):
            data = self._early[start]
            if start > self._expected:
                break
            del self._early[start]
            fresh = data[self._expected - start :]
            taken += fresh
            self._expected += len(fresh)
        return bytes(taken)

    def _encode(self, start: int, data: bytes) -> bytes:
        chunk = Chunk(self._session, start % OFFSETS, self._expected % OFFSETS, data)
        return chunk.encode()


def _distance(origin: int, offset: int) -> int:
    """Return how far an offset is from one in the whole stream, the nearer way round."""
    ahead = (offset - origin) % OFFSETS
    return ahead - OFFSETS if ahead >= OFFSETS // 2 else ahead
