"""Moves the bytes of connections as asyncio's transports do, at a third of their cost.

Theory of operation
-------------------
The sockets are in an epoll of their own, and that epoll is one file to asyncio's loop. So a turn
that finds 500 sockets ready costs one callback of the loop, not 500. Rules:

1. A turn ends after TURN_BYTES of input; what is ready and was not read is first in the next one,
   so neither a busy client nor all together keep the rest of the process waiting.
2. Calls that wait for the end of a turn are made before the loop goes on: input is answered without
   another iteration of the loop.
3. After a turn of several sockets that brought something to be stored, and somebody waits to hear
   that it is, input gathers for GATHER_S: more of it then shares one reading, one commit and one
   answer, and the thread that commits has the interpreter to itself.
4. A stream calls connection_lost() once, never from within a call of its owner.
5. Bytes given to write() leave in their order; those that the kernel does not take wait here.

TLS is a layer above (tls_transport.py). Where there is no epoll, asyncio's transports do it all.
speed: benchmarks/, fanin_500_* and latency_10k; for rule 3 durable_20k.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

HAS_EPOLL = hasattr(select, "epoll")
READABLE, WRITABLE = (select.EPOLLIN, select.EPOLLOUT) if HAS_EPOLL else (0, 0)
TURN_EVENTS = 256
TURN_BYTES = 1_048_576
GATHER_SOCKETS = 4  # fewer have nothing to share
GATHER_S = 0.002  # commits are as far apart, so no acknowledgement is later
HIGH_BYTES = 65_536  # until set_write_buffer_limits(): asyncio's own
SEND_CHUNKS = 64  # in one call; the system takes at least 1,024


class Poller:
    """Calls the streams of one broker when their sockets are ready."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        commit: Callable[[], bool]
        | None = None,  # commits a turn's records; returns whether a client waits
    ) -> None:
        self.loop = loop
        self._commit = commit
        self._gathering: asyncio.TimerHandle | None = None
        self._epoll = select.epoll()
        self._streams: dict[int, Stream] = {}
        self._ready: list[tuple[int, int]] = []  # of this turn, the next one last
        self._is_in_turn = False
        self._at_end: list[Callable[[], None]] = []
        self._listen()

    def open(self, connected: socket.socket, protocol: asyncio.BufferedProtocol) -> None:
        """Open a stream between a connected socket and a protocol."""
        connected.setblocking(False)
        protocol.connection_made(Stream(self, connected, protocol))

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call a function at the end of this turn, or soon if there is no turn now."""
        if self._is_in_turn:
            self._at_end.append(callback)
        else:
            self.loop.call_soon(callback)

    def close(self) -> None:
        """Stop watching sockets; abort the streams that are open."""
        for stream in tuple(self._streams.values()):
            stream.abort()
        if self._gathering is not None:
            self._gathering.cancel()
        self.loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def watch(self, stream: Stream, number: int, wanted: int, before: int) -> None:
        """Change the events that a stream waits for; 0 is none."""
        if not before:
            self._streams[number] = stream
            self._epoll.register(number, wanted)
        elif wanted:
            self._epoll.modify(number, wanted)
        else:  # a socket that is registered for nothing would still report errors, again and again
            del self._streams[number]
            self._epoll.unregister(number)

    def _listen(self) -> None:
        self._gathering = None
        self.loop.add_reader(self._epoll.fileno(), self._take_turn)

    def _take_turn(self) -> None:
        self._is_in_turn = True
        try:
            count = self._read_ready()
        finally:
            self._is_in_turn = False
            called, self._at_end = self._at_end, []
            for callback in called:
                callback()
        is_awaited = self._commit is not None and self._commit()
        if is_awaited and count >= GATHER_SOCKETS and not self._ready:  # rule 3
            self.loop.remove_reader(self._epoll.fileno())
            self._gathering = self.loop.call_later(GATHER_S, self._listen)

    def _read_ready(self) -> int:
        """Read the ready sockets, up to TURN_BYTES; return the number of sockets that were read."""
        left, count = TURN_BYTES, 0
        ready = self._ready
        if not ready:
            ready.extend(self._epoll.poll(0, TURN_EVENTS))
            ready.reverse()
        while ready and left > 0:
            number, events = ready.pop()
            count += 1
            stream = self._streams.get(number)
            if stream is not None:  # else it was closed in this turn
                left -= stream.on_ready(events)
        return count


_NOBODY = asyncio.BufferedProtocol()  # the protocol of a stream that is lost


class Stream(asyncio.Transport):
    """One socket; the transport of a BufferedProtocol."""

    __slots__ = (
        "_chunks", "_high_bytes", "_is_closing", "_is_ending", "_is_lost", "_is_paused",
        "_is_reading", "_low_bytes", "_poller", "_protocol", "_size_bytes", "_socket", "_watched",
    )  # fmt: skip

    def __init__(
        self, poller: Poller, connected: socket.socket, protocol: asyncio.BufferedProtocol
    ) -> None:
        self._poller = poller
        self._socket = connected
        self._protocol = protocol
        self._chunks: deque[bytes | memoryview] | None = None  # made for the first that waits
        self._size_bytes = 0
        self._high_bytes, self._low_bytes = HIGH_BYTES, HIGH_BYTES // 4
        self._watched = 0
        self._is_reading = True
        self._is_paused = False  # the protocol is paused
        self._is_ending = False  # write_eof()
        self._is_closing = False
        self._is_lost = False
        self._watch()

    def on_ready(self, events: int) -> int:
        """Read and write as the socket allows; return the number of bytes read."""
        if self._chunks and events != READABLE:
            self._send_more()
        if not self._is_reading or events == WRITABLE:
            return 0
        try:
            received = self._socket.recv_into(self._protocol.get_buffer(-1))
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            self._fail(exc)
            return 0
        if not received:
            self.close()
            return 0
        try:
            self._protocol.buffer_updated(received)
        except Exception as exc:  # noqa: BLE001  # a fault of ours costs this connection only
            self._report(exc)
        return received

    # -- asyncio.Transport -------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the socket or its names."""
        if name == "peername":
            return self._socket.getpeername()
        return self._socket if name == "socket" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace the protocol."""
        self._protocol = cast("asyncio.BufferedProtocol", protocol)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send as much as the kernel takes; the rest waits."""
        if self._is_lost or not data:
            return
        sent = 0
        if not self._chunks:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as exc:
                self._fail(exc)
                return
            if sent == len(data):
                return
        if self._chunks is None:
            self._chunks = deque()
        self._chunks.append(memoryview(data)[sent:] if sent else bytes(data))
        self._size_bytes += len(data) - sent
        self._watch()
        self._pause_if_high()

    def write_eof(self) -> None:
        """Send the waiting bytes, and nothing after them."""
        if not self._is_ending:
            self._is_ending = True
            if not self._chunks:
                self._socket.shutdown(socket.SHUT_WR)

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the numbers of waiting bytes at which the protocol pauses and resumes."""
        self._high_bytes = HIGH_BYTES if high is None else high
        self._low_bytes = self._high_bytes // 4 if low is None else low
        self._pause_if_high()

    def get_write_buffer_size(self) -> int:
        """Return the number of waiting bytes."""
        return self._size_bytes

    def pause_reading(self) -> None:
        """Leave further bytes to the kernel."""
        self._is_reading = False
        self._watch()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._is_closing:
            self._is_reading = True
            self._watch()

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._is_closing

    def close(self) -> None:
        """Close once everything is sent."""
        if not self._is_closing:
            self._is_closing = True
            self.pause_reading()
            if not self._chunks:
                self._poller.loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Close now."""
        self._fail(None)

    def go_on(self) -> None:
        """Let the protocol do deferred work: call it with 0 bytes."""
        if not self._is_closing:
            try:
                self._protocol.buffer_updated(0)
            except Exception as exc:  # noqa: BLE001  # as below
                self._report(exc)

    # -- within -----------------------------------------------------------------------------

    def _send_more(self) -> None:
        chunks = self._chunks
        assert chunks is not None  # the caller looked
        try:
            sent = self._socket.sendmsg(list(islice(chunks, SEND_CHUNKS)))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._fail(exc)
            return
        self._size_bytes -= sent
        while chunks and sent >= len(chunks[0]):
            sent -= len(chunks.popleft())
        if sent:
            chunks[0] = memoryview(chunks[0])[sent:]
        if self._is_paused and self._size_bytes <= self._low_bytes:
            self._is_paused = False
            self._protocol.resume_writing()
        if not self._chunks:
            self._sent_all()
        self._watch()

    def _sent_all(self) -> None:
        self._chunks = None
        if self._is_closing:
            self._poller.loop.call_soon(self._lose, None)
        elif self._is_ending:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError as exc:
                self._fail(exc)

    def _pause_if_high(self) -> None:
        if self._size_bytes > self._high_bytes and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def _watch(self) -> None:
        wanted = 0
        if not self._is_lost:
            wanted = READABLE if self._is_reading else 0
            if self._chunks:
                wanted |= WRITABLE
        if wanted != self._watched:
            before, self._watched = self._watched, wanted
            self._poller.watch(self, self._socket.fileno(), wanted, before)

    def _report(self, error: Exception) -> None:
        self._poller.loop.call_exception_handler(
            {"message": "cannot handle what a peer sent", "exception": error, "transport": self}
        )
        self._fail(error)

    def _fail(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_closing = True
        self._is_reading = False
        self._chunks = None
        self._size_bytes = 0
        self._watch()
        self._poller.loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        self._is_reading = False
        self._watch()
        protocol, self._protocol = (
            self._protocol,
            _NOBODY,
        )  # or the two objects would keep each other alive
        protocol.connection_lost(error)
        self._socket.close()
