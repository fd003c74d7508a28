"""Moves bytes between two joined sockets.

Theory of operation
-------------------
A pair has two directions. move() fills a borrowed buffer from the source of a direction and drains
it to its sink, as often as the budget allows. Four rules hold after every call:

1. A source is read only when its sink has accepted everything read before: a slow reader stops
   its writer, and a direction never holds more than one buffer.
2. The end of a source reaches its sink after its last byte, as a half-close; the other direction
   continues. A reset is passed on as a reset.
3. A sink that accepts no more does not end the other direction: an HTTP server may answer and
   close before it has read the whole request. Further bytes for it are discarded, for at most
   linger_s after the answer is delivered.
4. A direction without bytes in transit holds no buffer.
"""

import contextlib
import errno
import socket
from collections.abc import Callable

from protocol.splice.pipes import UNSUPPORTED, Buffer, Memory, Pipe, PipePool
from protocol.splice.sockets import cut, was_cut


class SplicedPair:
    """Two joined sockets: each receives the bytes of the other."""

    __slots__ = (
        "_forget", "_left", "_on_end", "_right", "directions", "ended", "last_moved",
        "linger_until", "moved", "was_reset",
    )  # fmt: skip

    def __init__(
        self,
        forget: Callable[["SplicedPair"], None],
        sockets: tuple[socket.socket, socket.socket],
        on_end: Callable[["SplicedPair"], None],
        pool: PipePool,
        head: bytes = b"",
        now: float = 0.0,
    ) -> None:
        self._forget, self._on_end = forget, on_end
        self._left, self._right = left, right = sockets
        self.moved = 0  # bytes, both ways
        self.last_moved = now
        self.linger_until = 0.0
        self.was_reset = False
        self.ended = False
        self.directions = (
            SpliceDirection(self, pool, left, right, head),
            SpliceDirection(self, pool, right, left),
        )

    @property
    def lingering(self) -> bool:
        """True when only a direction without a reader remains."""
        out, back = self.directions
        return (out.ended and back.discarding) or (back.ended and out.discarding)

    def cut(self) -> None:
        """End now with a reset to both peers."""
        self.was_reset = True
        self.finish()

    def settle(self) -> None:
        """End when both directions have ended, or one was reset and is delivered."""
        out, back = self.directions
        if (out.ended and back.ended) or (self.was_reset and (out.ended or back.ended)):
            self.finish()

    def finish(self) -> None:
        """Close both sockets, once."""
        if self.ended:
            return
        self.ended = True
        self._forget(self)
        close = cut if self.was_reset else socket.socket.close
        close(self._left)
        close(self._right)
        self._on_end(self)


class SpliceDirection:
    """One direction of a pair."""

    __slots__ = (
        "_pool", "buffer", "discarding", "ended", "pair", "queued", "sink", "sink_ready",
        "source", "source_ended", "source_ready",
    )  # fmt: skip

    def __init__(
        self,
        pair: SplicedPair,
        pool: PipePool,
        source: socket.socket,
        sink: socket.socket,
        head: bytes = b"",
    ) -> None:
        self.pair, self._pool, self.source, self.sink = pair, pool, source, sink
        self.buffer: Buffer | None = Memory(head) if head else None
        self.source_ready = self.sink_ready = True  # until a call says otherwise
        self.source_ended = self.discarding = self.ended = self.queued = False

    def move(self, budget: int) -> bool:
        """Move up to about budget bytes; return whether there may be more to move now."""
        while budget > 0 and not self.ended:
            if self.buffer is not None and self.buffer.held:
                if not self.sink_ready:
                    return False
                budget -= self._drain(self.buffer)
            elif self.source_ended:
                self._pass_end_on()
            elif self.source_ready:
                self._fill(self.buffer or self._borrow())
            else:
                self.release()
                return False
        return not self.ended

    def release(self) -> None:
        """Give the buffer back."""
        if self.buffer is not None:
            self._pool.give_back(self.buffer)
            self.buffer = None

    def _borrow(self) -> Buffer:
        self.buffer = Memory() if self.discarding else self._pool.borrow()
        return self.buffer

    def _fill(self, buffer: Buffer) -> None:
        try:
            self.source_ended = buffer.fill(self.source) == 0
            self.pair.was_reset |= self.source_ended and was_cut(self.source)
        except BlockingIOError:
            self.source_ready = False
        except OSError as exc:
            if isinstance(buffer, Pipe) and exc.errno in UNSUPPORTED:
                self._pool.disable()
                self.release()  # continue in memory
                return
            self.source_ended = True
            self.pair.was_reset |= _is_reset(self.source, exc)

    def _drain(self, buffer: Buffer) -> int:
        if self.discarding:
            moved, buffer.held = buffer.held, 0
            return moved
        try:
            moved = buffer.drain(self.sink)
        except BlockingIOError:
            self.sink_ready = False
            return 0
        except OSError as exc:
            self.pair.was_reset |= _is_reset(self.sink, exc)
            self.discarding = True
            self.release()
            return 0
        self.pair.moved += moved
        if not buffer.held and isinstance(buffer, Memory):
            self.release()  # there may be a pipe by now
        return moved

    def _pass_end_on(self) -> None:
        self.release()
        self.ended = True
        with contextlib.suppress(OSError):  # it may be gone already
            self.sink.shutdown(socket.SHUT_WR)


def _is_reset(sock: socket.socket, exc: OSError) -> bool:
    """Return whether the peer reset the connection; EPIPE means only that it had ended before.

    A Unix socket reports a reset when its peer closed with bytes unread: an early answer.
    """
    return sock.family != socket.AF_UNIX and exc.errno != errno.EPIPE
