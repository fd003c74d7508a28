"""Runs the pending TLS handshakes of a listener in turns.

A handshake costs up to a millisecond, most of it in one step. A turn of the event loop gives all
ready handshakes TURN_S together; the rest wait for the next turn, behind the open connections.
Until its turn a handshake reads nothing more.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import TYPE_CHECKING, cast

from broker.net.tls_transport import RECEIVE_BYTES, TlsOwner, TlsStream

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from broker.net.transport import Poller, Stream

TURN_S = 0.001  # of handshakes in one turn; open connections wait that much longer
HELLO_BYTES = 4_096  # received at once in a handshake; certificates come in several


class HandshakeQueue:
    """Runs the pending TLS handshakes of one listener in turns."""

    def __init__(self, poller: Poller, context: ssl.SSLContext, timeout_s: float) -> None:
        self.context = context
        self.buffer = memoryview(bytearray(RECEIVE_BYTES))  # reused: each read is consumed at once
        self.loop = poller.loop
        self._poller = poller
        self._timeout_s = timeout_s
        self._deadlines: dict[TlsHandshake, float] = {}  # the earliest first
        self._ready: deque[TlsHandshake] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def enter(
        self,
        accepted: socket.socket,
        make: Callable[[], TlsOwner],
        fail: Callable[[OSError | None], None],
    ) -> None:
        """Begin a handshake.

        Args:
            accepted: the socket of a new connection.
            make: returns the owner of the connection once the handshake is done.
            fail: is called instead with the error, or with None when the queue is closed.
        """
        handshake = TlsHandshake(self, make, fail)
        self._deadlines[handshake] = self.loop.time() + self._timeout_s
        self._poller.open(accepted, handshake)
        if self._timer is None:
            self._timer = self.loop.call_later(self._timeout_s, self._end_late)

    def close(self) -> None:
        """End all pending handshakes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for handshake in tuple(self._deadlines):
            handshake.end(None)

    def schedule(self, handshake: TlsHandshake) -> None:
        """Let a handshake continue in its turn."""
        if not self._ready:
            self.loop.call_soon(self._run_turn)
        self._ready.append(handshake)

    def remove(self, handshake: TlsHandshake) -> None:
        """Forget a handshake."""
        self._deadlines.pop(handshake, None)

    def _run_turn(self) -> None:
        ready, end = self._ready, self.loop.time() + TURN_S
        while ready:
            ready.popleft().stream.go_on()
            if ready and self.loop.time() >= end:
                self.loop.call_soon(self._run_turn)
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


class TlsHandshake(asyncio.BufferedProtocol):
    """One connection whose handshake is pending."""

    __slots__ = ("_fail", "_incoming", "_make", "_outgoing", "_queue", "_tls", "stream")

    def __init__(
        self,
        queue: HandshakeQueue,
        make: Callable[[], TlsOwner],
        fail: Callable[[OSError | None], None],
    ) -> None:
        self._queue = queue
        self._make = make
        self._fail = fail
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None  # 10 KB, once the peer has sent something

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes of the peer."""
        self.stream = cast("Stream", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's
        """Lend the common buffer."""
        return self._queue.buffer[:HELLO_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """Keep received bytes for the next turn; with 0 bytes, this is the turn."""
        if nbytes:
            self._incoming.write(self._queue.buffer[:nbytes])
            self.stream.pause_reading()
            self._queue.schedule(self)
            return
        try:
            tls = self._take_step()
        except ssl.SSLWantReadError:
            self.stream.write(self._outgoing.read())
            self.stream.resume_reading()
        except OSError as exc:
            self.stream.write(self._outgoing.read())  # the alert, for the peer
            self.end(exc)
        else:
            self._open(tls)

    def connection_lost(self, exc: Exception | None) -> None:
        """End, because the peer has gone."""
        if not isinstance(exc, OSError):
            exc = ConnectionResetError("the peer closed the connection")
        self.end(exc)

    def end(self, error: OSError | None) -> None:
        """Close, and report the error."""
        self._queue.remove(self)
        self._tls = None  # now: the receiver of the error may still refer to this object
        fail, self._fail = self._fail, _ignore
        self.stream.abort()
        fail(error)

    def _take_step(self) -> ssl.SSLObject:
        tls = self._tls
        if tls is None:
            both = self._incoming, self._outgoing
            tls = self._tls = self._queue.context.wrap_bio(*both, server_side=True)
        tls.do_handshake()
        return tls

    def _open(self, tls: ssl.SSLObject) -> None:
        self._queue.remove(self)
        self._fail = _ignore
        self.stream.write(self._outgoing.read())
        place = self._queue.loop, self._queue.buffer
        TlsStream(place, self.stream, tls, (self._incoming, self._outgoing), self._make())


def _ignore(_: OSError | None) -> None:
    pass
