"""Makes an ordered stream of bytes over Bluetooth LE and serial lines; see protocol/chunks/stream.py.

The link may lose, repeat, reorder and spoil chunks. Pure: the caller brings chunks, and the time in
milliseconds that never go round.
"""

from micropython import const

_OVERHEAD = const(7)
_MIN_CHUNK = const(20)
_MAX_CHUNK = const(512)
_WINDOW_CHUNKS = const(4)
_WINDOW_BYTES = const(2048)
_QUEUE_BYTES = const(8192)
_FIRST_WAIT_MS = const(300)
_LAST_WAIT_MS = const(5000)
_TRIES = const(10)
_SHRINK_AFTER = const(2)
_GROW_AFTER = const(16)
_GROW_AFTER_LAST = const(4096)
# of CRC-16/CCITT-FALSE, for four bits: a table for eight would take 2 KiB of a board
_CRCS = tuple([(n << 12 ^ n << 5 ^ n) & 0xFFFF for n in range(16)])


def crc16(data):
    """Return CRC-16/CCITT-FALSE."""
    crc, crcs = 0xFFFF, _CRCS
    for byte in data:
        crc = (crc << 4 & 0xFFFF) ^ crcs[crc >> 12 ^ byte >> 4]
        crc = (crc << 4 & 0xFFFF) ^ crcs[crc >> 12 ^ byte & 15]
    return crc


def is_intact(chunk):
    """Return whether a chunk is as it was sent."""
    size = len(chunk) - 2
    is_whole = _OVERHEAD - 2 <= size <= _MAX_CHUNK - 2
    return is_whole and crc16(memoryview(chunk)[:size]) == chunk[size] << 8 | chunk[size + 1]


def encode_chunk(session, offset, ack, data):
    """Return a chunk."""
    body = bytes((session, offset >> 8, offset & 255, ack >> 8, ack & 255)) + data
    crc = crc16(body)
    return body + bytes((crc >> 8, crc & 255))


def encode_end(session):
    """Return the chunk that ends a session."""
    return encode_chunk(0, 0, 0, bytes((session, 0)))


def decode_end(chunk, session):
    """Return why a chunk ends this session: 0 closed, 1 not known, 2 refused; None: it does not."""
    if len(chunk) == 9 and chunk[0] == 0 and chunk[5] == session and is_intact(chunk):
        return chunk[6]
    return None


class ChunkStream:
    """One direction each way over one link; see protocol/chunks/stream.py."""

    def __init__(self, session, chunk_bytes):
        self.chunk_bytes = self._largest = max(chunk_bytes, _MIN_CHUNK)
        self._grow_after = _GROW_AFTER
        self._passed = 0  # chunks at once, since the last that did not
        self.failed = False
        self.spoiled = 0
        self._session = session
        self._queue = b""
        self._next = 0
        self._reached = 0  # beyond _next after bytes were taken back into the queue
        self._under_way = []  # [start, data, due, tries]
        self._expected = 0
        self._early = {}
        self._owes_ack = False

    def is_idle(self):
        """Return whether the other side has acknowledged everything."""
        return not self._queue and not self._under_way

    def queued(self):
        """Return how many bytes wait to be sent for the first time."""
        return len(self._queue)

    def send(self, data):
        """Queue bytes; return False, and queue nothing, when there is no room for them."""
        if len(self._queue) + len(data) > _QUEUE_BYTES:
            return False
        self._queue += data
        return True

    def receive(self, chunk, takes_data=True):
        """Take what the link brought; return the bytes of the stream that are in order now.

        Data that cannot be taken now are dropped, and sent again by the other side.
        """
        if not chunk or chunk[0] != self._session or not is_intact(chunk):
            self.spoiled += 1
            return b""
        self._acknowledge(chunk[3] << 8 | chunk[4])
        data = bytes(chunk[5 : len(chunk) - 2])
        if not data or not takes_data:
            return b""
        self._owes_ack = True
        start = self._expected + _distance(self._expected, chunk[1] << 8 | chunk[2])
        if start + len(data) <= self._expected or start > self._expected + _WINDOW_BYTES:
            return b""
        held = sum([len(early) for early in self._early.values()])
        if len(data) > len(self._early.get(start, b"")) and (
            start <= self._expected or held + len(data) <= _WINDOW_BYTES
        ):
            self._early[start] = data
        return self._take_in_order()

    def poll(self, now):
        """Return the chunks to send now; with nothing else to say, the acknowledgement owed."""
        chunks = []
        for sent in self._under_way:
            if now >= sent[2]:
                self._passed = 0
                if not self._repeat(sent, now, chunks):
                    break
        room = self.chunk_bytes - _OVERHEAD
        while self._queue and self._may_send():
            data, self._queue = self._queue[:room], self._queue[room:]
            self._under_way.append([self._next, data, now + _FIRST_WAIT_MS, 1])
            chunks.append(self._encode(self._next, data))
            self._next += len(data)
            self._reached = max(self._reached, self._next)
        if self._owes_ack and not chunks:
            chunks.append(self._encode(self._next, b""))
        self._owes_ack = False
        return chunks

    def next_due(self):
        """Return when poll() has to be called without a reason from outside; None: not."""
        return min([sent[2] for sent in self._under_way]) if self._under_way else None

    def _may_send(self):
        size = sum([len(sent[1]) for sent in self._under_way]) + self.chunk_bytes
        few = len(self._under_way) < _WINDOW_CHUNKS
        return few and size <= _WINDOW_BYTES and not self.failed

    def _repeat(self, sent, now, chunks):
        """Repeat a chunk; return False when that is no use."""
        if sent[3] >= _TRIES:
            self.failed = True
            return False
        if sent[3] >= _SHRINK_AFTER and len(sent[1]) + _OVERHEAD > _MIN_CHUNK:
            self._shrink(sent)
            return False
        sent[3] += 1
        sent[2] = now + min(_FIRST_WAIT_MS << (sent[3] - 1), _LAST_WAIT_MS)
        chunks.append(self._encode(sent[0], sent[1]))
        return True

    def _shrink(self, lost):
        """Take everything from a chunk on back into the queue, for chunks of half its size."""
        half = max((len(lost[1]) + _OVERHEAD) // 2, _MIN_CHUNK)
        self.chunk_bytes = min(self.chunk_bytes, half)
        self._grow_after = min(self._grow_after * 2, _GROW_AFTER_LAST)
        first = self._under_way.index(lost)
        self._queue = b"".join([sent[1] for sent in self._under_way[first:]]) + self._queue
        self._next = lost[0]
        self._under_way = self._under_way[:first]

    def _note_passed(self, sent):
        """Try larger chunks again after enough that passed at once."""
        self._passed += sent[3] == 1
        if self._passed >= self._grow_after and self.chunk_bytes < self._largest:
            self.chunk_bytes = min(self.chunk_bytes * 2, self._largest)
            self._passed = 0

    def _acknowledge(self, ack):
        first = self._under_way[0][0] if self._under_way else self._next
        reached = first + _distance(first, ack)
        if not first < reached <= self._reached:
            return
        if reached > self._next:  # bytes that were taken back have arrived
            self._queue = self._queue[reached - self._next :]
            self._next = reached
        left = []
        for sent in self._under_way:
            done = min(max(reached - sent[0], 0), len(sent[1]))
            if done < len(sent[1]):
                sent[0] += done
                sent[1] = sent[1][done:]
                left.append(sent)
            else:
                self._note_passed(sent)
        self._under_way = left

    def _take_in_order(self):
        taken = b""
        for start in sorted(self._early):
            if start > self._expected:
                break
            fresh = self._early.pop(start)[self._expected - start :]
            taken += fresh
            self._expected += len(fresh)
        return taken

    def _encode(self, start, data):
        return encode_chunk(self._session, start & 0xFFFF, self._expected & 0xFFFF, data)


def _distance(origin, offset):
    """Return how far an offset is from one in the whole stream, the nearer way round."""
    ahead = (offset - origin) & 0xFFFF
    return ahead - 0x10000 if ahead >= 0x8000 else ahead
