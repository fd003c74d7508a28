"""Joins the two streams of one session: chunks on one side, bytes of MQTT on the other. Pure.

States and what moves them on:

    OPENING  nothing is known      the hello of the device      PROVING
    PROVING  its key is known      its first good record        OPEN
    OPEN     bytes pass            close(), the broker closed   ENDING
    ENDING   the rest is sent      all of it acknowledged       ENDED
    any      a bad record, a key that is not known, chunks that do not pass, time over   ENDED

A session that is not open HANDSHAKE_S after its begin ends, and one that is ending after ENDING_S.
"""

from collections.abc import Callable
from enum import Enum

from gateway.links.keys import LinkKey
from protocol.chunks.records import MESSAGE_LIMIT, RecordError, SecureStream
from protocol.chunks.stream import WINDOW_BYTES, ReliableStream
from protocol.chunks.wire import OFFSETS, Chunk, SessionEnd, encode_end

HANDSHAKE_S = 10.0
ENDING_S = 3.0
RECORD_BYTES = 512  # of MQTT in one record: a device holds a whole one before it reads it
RECORD_OVERHEAD = 10
HEAD_BYTES = 96  # of the stream, kept to compare; no hello is longer
assert RECORD_BYTES <= MESSAGE_LIMIT


class ChunkSessionState(Enum):
    """The states of a session."""

    OPENING = "opening"
    PROVING = "proving"
    OPEN = "open"
    ENDING = "ending"
    ENDED = "ended"


_NEXT = {
    ChunkSessionState.OPENING: (ChunkSessionState.PROVING, ChunkSessionState.ENDED),
    ChunkSessionState.PROVING: (ChunkSessionState.OPEN, ChunkSessionState.ENDED),
    ChunkSessionState.OPEN: (ChunkSessionState.ENDING, ChunkSessionState.ENDED),
    ChunkSessionState.ENDING: (ChunkSessionState.ENDED,),
    ChunkSessionState.ENDED: (),
}


class ChunkSession:
    """One session; the caller brings chunks, bytes and the time."""

    def __init__(
        self,
        number: int,
        chunk_bytes: int,
        nonce: bytes,
        find_key: Callable[[bytes], LinkKey | None],
        now: float,
    ) -> None:
        self.number = number
        self.state = ChunkSessionState.OPENING
        self.why_ended = ""
        self.reason = SessionEnd.CLOSED
        self._find = find_key
        self._found: LinkKey | None = None
        self._stream = ReliableStream(number, chunk_bytes)
        self._secure = SecureStream(nonce, find_key=self._find_key)
        self._deadline: float | None = now + HANDSHAKE_S
        self._farewell: bytes | None = None
        self._head = b""  # the first bytes that came

    @property
    def proved(self) -> str:
        """The name that the other end has proved; "" before."""
        is_proved = self.state in (ChunkSessionState.OPEN, ChunkSessionState.ENDING)
        return self._found.proves if is_proved and self._found is not None else ""

    @property
    def spoiled(self) -> int:
        """The chunks that were dropped as spoiled."""
        return self._stream.spoiled

    @property
    def room(self) -> int:
        """The bytes of MQTT that send() takes now."""
        if self.state is not ChunkSessionState.OPEN:
            return 0
        records = self._stream.room // (RECORD_BYTES + RECORD_OVERHEAD)
        return records * RECORD_BYTES

    def receive(self, chunk: bytes, *, takes_data: bool = True) -> bytes:
        """Take a chunk; return the bytes of MQTT that it completes, from a proved peer only."""
        if self.state is ChunkSessionState.ENDED:
            return b""
        data = self._stream.receive(chunk, takes_data=takes_data)
        self._head += data[: HEAD_BYTES - len(self._head)]
        if not data or self.state is ChunkSessionState.ENDING:
            return b""
        try:
            messages = self._secure.feed(data)
        except RecordError as exc:
            self._end(str(exc), SessionEnd.REFUSED)
            return b""
        if self.state is ChunkSessionState.OPENING and self._secure.is_ready:
            self._move(ChunkSessionState.PROVING)
            self._stream.send(self._secure.hello())
        if messages and self.state is ChunkSessionState.PROVING:
            self._move(ChunkSessionState.OPEN)
            self._deadline = None
        return b"".join(messages)

    def is_contradicted_by(self, chunk: Chunk) -> bool:
        """Return whether a chunk holds other bytes than came for its offset.

        A device that was reset may begin a new session with the number of this one: its hello has
        another nonce. Its chunks would be taken for repetitions, and get no answer.
        """
        known = self._head[chunk.offset : chunk.offset + len(chunk.data)]
        received = self._stream.received
        distance = (chunk.offset - received + OFFSETS // 2) % OFFSETS - OFFSETS // 2
        if received > OFFSETS // 2 and abs(distance) <= 2 * WINDOW_BYTES:
            return False  # offsets have gone round: these bytes may be new
        return chunk.data[: len(known)] != known

    def send(self, data: bytes) -> None:
        """Queue bytes of MQTT, no more than there is room for."""
        if len(data) > self.room:
            raise ValueError(f"cannot queue {len(data)} bytes: room for {self.room}")
        for at in range(0, len(data), RECORD_BYTES):
            self._stream.send(self._secure.encode(data[at : at + RECORD_BYTES]))

    def close(self, now: float) -> None:
        """End once everything that was queued has arrived."""
        if self.state is ChunkSessionState.OPEN:
            self._move(ChunkSessionState.ENDING)
            self._deadline = now + ENDING_S

    def end(self, why: str, reason: SessionEnd = SessionEnd.CLOSED, *, tell: bool = True) -> None:
        """End now."""
        if self.state is not ChunkSessionState.ENDED:
            self._end(why, reason, tell=tell)

    def poll(self, now: float) -> list[bytes]:
        """Return the chunks to send now."""
        chunks = [] if self.state is ChunkSessionState.ENDED else self._stream.poll(now)
        if self.state is not ChunkSessionState.ENDED:
            self._check(now)
        if self._farewell is not None:
            chunks.append(self._farewell)
            self._farewell = None
        return chunks

    def next_due(self) -> float | None:
        """Return when poll() has to be called without a reason from outside; None: not."""
        if self.state is ChunkSessionState.ENDED:
            return None
        dues = [due for due in (self._stream.next_due(), self._deadline) if due is not None]
        return min(dues, default=None)

    def _check(self, now: float) -> None:
        if self._stream.failed:
            self._end("the device acknowledges nothing", SessionEnd.CLOSED)
        elif self.state is ChunkSessionState.ENDING and self._stream.is_idle:
            self._end("closed", SessionEnd.CLOSED)
        elif self._deadline is not None and now >= self._deadline:
            is_ending = self.state is ChunkSessionState.ENDING
            self._end("closed" if is_ending else "the handshake takes too long", SessionEnd.CLOSED)

    def _find_key(self, name: bytes) -> bytes | None:
        self._found = self._find(name)
        return self._found.key if self._found is not None else None

    def _end(self, why: str, reason: SessionEnd, *, tell: bool = True) -> None:
        self._move(ChunkSessionState.ENDED)
        self.why_ended, self.reason, self._deadline = why, reason, None
        if tell:
            self._farewell = encode_end(self.number, reason)

    def _move(self, state: ChunkSessionState) -> None:
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"a session cannot go from {self.state.value} to {state.value}")
        self.state = state
