"""TLS on the broker's own sockets: a layer between a Stream and its connection.

Theory of operation
-------------------
OpenSSL sees no socket: what comes is put into one buffer of it, what is to be sent is taken out of
another, and a Stream moves both. So all that streams.py promises holds here as well: its turns,
bounds, lingering, and what waits for a slow reader. Rules:

1. A handshake costs up to a millisecond, most of it at once. A turn of the loop gives all that are
   ready TURN_S; the rest line up for the next turn, behind the open connections. Until its turn a
   handshake reads nothing more.
2. A buffer of OpenSSL's stays as large as it ever was, for as long as the connection lives. No more
   than PIECE_BYTES are put into one at a time.
3. What was received is decrypted at once, until its owner wants no more; then it waits here, and
   the socket is read again only when it is used up.
4. The end is told (close_notify) behind everything that was written, once nothing is left to
   decrypt, over which OpenSSL would trip. Reading goes on until the peer ends, too.

speed: benchmarks/, tls_64b and tls_16kib. On sockets of its own OpenSSL asks the system twice for
each record.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from broker.streams import Poller, Stream

TURN_S = 0.001  # of handshakes at once; whoever is connected waits that much longer
RECEIVE_BYTES = 262_144  # at once, encrypted; a busy publisher fills it
PIECE_BYTES = 65_536  # given to OpenSSL at once; each piece ends in a record, and that costs 3 us
RECORD_BYTES = 16_384  # what a record carries at most
OWED_BYTES = 16_384  # of answers to new keys that wait for the peer; each has 27 bytes
HELLO_BYTES = 4_096  # received at once in a handshake; certificates come in several


class Owner(Protocol):
    """Who takes an open connection: an asyncio.BufferedProtocol that can also cut it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend room for what comes."""

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came."""

    def pause_writing(self) -> None:
        """Write no more for now."""

    def resume_writing(self) -> None:
        """Write again."""

    def connection_lost(self, exc: Exception | None) -> None:
        """It is no more."""

    def refuse(self, reason: str) -> None:
        """Count and tell why, and abort."""


class Hall:
    """Where connections of one listener wait until their handshake is done."""

    def __init__(self, poller: Poller, context: ssl.SSLContext, timeout_s: float) -> None:
        self.context = context
        self.buffer = memoryview(bytearray(RECEIVE_BYTES))  # what is received is used at once
        self.loop = poller.loop
        self._poller = poller
        self._timeout_s = timeout_s
        self._deadlines: dict[Handshake, float] = {}  # the earliest first
        self._ready: deque[Handshake] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def enter(
        self,
        accepted: socket.socket,
        make: Callable[[], Owner],
        fail: Callable[[OSError | None], None],
    ) -> None:
        """Begin a handshake, after which make() is asked for who takes the connection.

        Or else fail() is told why not; None is that the hall is closed.
        """
        handshake = Handshake(self, make, fail)
        self._deadlines[handshake] = self.loop.time() + self._timeout_s
        self._poller.open(accepted, handshake)
        if self._timer is None:
            self._timer = self.loop.call_later(self._timeout_s, self._end_late)

    def close(self) -> None:
        """End all that wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for handshake in tuple(self._deadlines):
            handshake.end(None)

    def line_up(self, handshake: Handshake) -> None:
        """Note that a handshake can go on."""
        if not self._ready:
            self.loop.call_soon(self._take_turn)
        self._ready.append(handshake)

    def leave(self, handshake: Handshake) -> None:
        """Forget one."""
        self._deadlines.pop(handshake, None)

    def _take_turn(self) -> None:
        ready, end = self._ready, self.loop.time() + TURN_S
        while ready:
            ready.popleft().stream.go_on()
            if ready and self.loop.time() >= end:
                self.loop.call_soon(self._take_turn)
                return

    def _end_late(self) -> None:
        now = self.loop.time()
        late = []
        for handshake, deadline in self._deadlines.items():
            if deadline > now:
                self._timer = self.loop.call_at(deadline, self._end_late)
                break
            late.append(handshake)
        else:
            self._timer = None
        for handshake in late:
            handshake.end(TimeoutError("the handshake takes too long"))


class Handshake(asyncio.BufferedProtocol):
    """One connection that is not open yet."""

    __slots__ = ("_fail", "_hall", "_incoming", "_make", "_outgoing", "_tls", "stream")

    def __init__(
        self,
        hall: Hall,
        make: Callable[[], Owner],
        fail: Callable[[OSError | None], None],
    ) -> None:
        self._hall = hall
        self._make = make
        self._fail = fail
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None  # 10 KB, for who says something

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for what the peer says first."""
        self.stream = cast("Stream", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's
        """Lend the hall's buffer."""
        return self._hall.buffer[:HELLO_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """Line up; with 0 bytes it is our turn."""
        if nbytes:
            self._incoming.write(self._hall.buffer[:nbytes])
            self.stream.pause_reading()
            self._hall.line_up(self)
            return
        try:
            tls = self._take_step()
        except ssl.SSLWantReadError:
            self.stream.write(self._outgoing.read())
            self.stream.resume_reading()
        except OSError as exc:
            self.stream.write(self._outgoing.read())  # why, for the peer
            self.end(exc)
        else:
            self._open(tls)

    def connection_lost(self, exc: Exception | None) -> None:
        """Find that the peer has gone."""
        if not isinstance(exc, OSError):
            exc = ConnectionResetError("the peer closed the connection")
        self.end(exc)

    def end(self, error: OSError | None) -> None:
        """Close, and tell why."""
        self._hall.leave(self)
        self._tls = None  # now: whoever is told why may still refer to this
        fail, self._fail = self._fail, _ignore
        self.stream.abort()
        fail(error)

    def _take_step(self) -> ssl.SSLObject:
        tls = self._tls
        if tls is None:
            both = self._incoming, self._outgoing
            tls = self._tls = self._hall.context.wrap_bio(*both, server_side=True)
        tls.do_handshake()
        return tls

    def _open(self, tls: ssl.SSLObject) -> None:
        self._hall.leave(self)
        self._fail = _ignore
        self.stream.write(self._outgoing.read())
        TlsStream(self._hall, self.stream, tls, (self._incoming, self._outgoing), self._make())


class TlsStream(asyncio.Transport, asyncio.BufferedProtocol):
    """One open connection: the protocol of a Stream, the transport of another protocol."""

    __slots__ = (
        "_hall", "_incoming", "_is_ending", "_is_over", "_is_reading", "_outgoing", "_owed_bytes",
        "_protocol", "_received", "_stream", "_tls",
    )  # fmt: skip

    def __init__(
        self,
        hall: Hall,
        stream: Stream,
        tls: ssl.SSLObject,
        buffers: tuple[ssl.MemoryBIO, ssl.MemoryBIO],
        protocol: Owner,
    ) -> None:
        self._hall = hall
        self._stream = stream
        self._tls = tls
        self._incoming, self._outgoing = buffers
        self._protocol = protocol
        self._received = memoryview(b"")  # what OpenSSL was not given yet
        self._owed_bytes = 0  # of answers that wait
        self._is_reading = False
        self._is_over = False  # the peer has ended
        self._is_ending = False  # nothing more is written
        stream.set_protocol(self)
        protocol.connection_made(self)
        self.resume_reading()

    # -- what asyncio's transports can do ---------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return "ssl_object", or what the stream knows."""
        return self._tls if name == "ssl_object" else self._stream.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if not data or self._is_ending:
            return
        try:
            encrypted = self._encrypt(data)
        except ssl.SSLError:
            self.abort()
            return
        self._stream.write(encrypted)

    def write_eof(self) -> None:
        """Send nothing after what waits."""
        if not self._is_ending:
            self._is_ending = True
            if not self._has_more():
                self._end_writing()

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say beyond how many waiting bytes the protocol is to pause, and when to go on."""
        self._stream.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait, encrypted."""
        return self._stream.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Leave what comes to the kernel, and what has come here."""
        self._is_reading = False
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        """Read again, and what has come already first."""
        if self._stream.is_closing():
            return
        self._is_reading = True
        if self._has_more():
            self._hall.loop.call_soon(self._stream.go_on)
        else:
            self._stream.resume_reading()

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._stream.is_closing()

    def close(self) -> None:
        """Close once everything is sent."""
        if not self._stream.is_closing():
            self._is_reading = False
            self._is_ending = True
            self._tell_end()
            self._stream.close()

    def abort(self) -> None:
        """Close now."""
        self._is_reading = False
        self._is_ending = True
        self._stream.abort()

    # -- called by the stream ---------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the hall's buffer, hardly more of it than the protocol reads at once."""
        wanted = self._protocol.get_buffer(sizehint)
        return self._hall.buffer[: max(len(wanted), RECORD_BYTES)]

    def buffer_updated(self, nbytes: int) -> None:
        """Decrypt what was received; with 0 bytes, what waits."""
        if nbytes:
            self._received = self._hall.buffer[:nbytes]
        try:
            self._pass_on()
        except ssl.SSLError:
            self._stream.write(self._outgoing.read())  # why, for the peer
            self._protocol.refuse("tls_broken")
            return
        if self._received:
            self._received = memoryview(bytes(self._received))  # others use the buffer now
        if self._outgoing.pending:
            self._answer(self._outgoing.read())
        if self._is_over:
            self._hall.loop.call_soon(self.close)  # behind the answers to what came last
        elif self._is_reading:
            if self._is_ending:
                self._end_writing()
            if not nbytes:
                self._stream.resume_reading()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, and keep nothing of OpenSSL's."""
        self._is_reading = False
        self._is_ending = True
        self._protocol.connection_lost(exc)
        # now: who handles the last packet may still refer to this
        del self._tls, self._incoming, self._outgoing
        self._received = memoryview(b"")

    # -- within -----------------------------------------------------------------------------

    def _pass_on(self) -> None:
        protocol = self._protocol
        while self._is_reading:
            buffer = protocol.get_buffer(-1)
            room = len(buffer)  # the protocol may release the view
            taken = self._decrypt(buffer)
            if taken:
                protocol.buffer_updated(taken)
            if taken < room:
                return

    def _decrypt(self, buffer: memoryview) -> int:
        """Fill a buffer as far as possible; return how far."""
        tls, incoming = self._tls, self._incoming
        taken, size = 0, len(buffer)
        while taken < size and not self._is_over:
            if not incoming.pending and not tls.pending():
                if not self._received:
                    break
                incoming.write(self._received[:PIECE_BYTES])
                self._received = self._received[PIECE_BYTES:]
            try:
                count = tls.read(size - taken, buffer[taken:])
            except ssl.SSLWantReadError:  # not even one record is whole
                continue
            assert isinstance(count, int)  # bytes are returned where no buffer is given
            taken += count
            self._is_over = not count
        return taken

    def _encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        tls, outgoing, size = self._tls, self._outgoing, len(data)
        if size <= PIECE_BYTES:
            tls.write(data)
            return outgoing.read()
        view, at, pieces = memoryview(data), 0, []
        while at < size:
            at += tls.write(view[at : at + PIECE_BYTES])
            pieces.append(outgoing.read())
        return b"".join(pieces)

    def _answer(self, answer: bytes) -> None:
        """Send our part of new keys, but not to who only asks for more."""
        self._stream.write(answer)
        waiting_bytes = self._stream.get_write_buffer_size()
        self._owed_bytes = self._owed_bytes + len(answer) if waiting_bytes else 0
        if self._owed_bytes > OWED_BYTES:
            self._protocol.refuse("tls_new_keys")

    def _has_more(self) -> bool:
        return bool(self._received or self._incoming.pending or self._tls.pending())

    def _end_writing(self) -> None:
        self._tell_end()
        try:
            self._stream.write_eof()
        except OSError:  # the peer has reset it, and the stream does not know yet
            self._stream.abort()

    def _tell_end(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # the peer has not ended yet
            self._tls.unwrap()
        self._stream.write(self._outgoing.read())


def _ignore(_: OSError | None) -> None:
    pass
