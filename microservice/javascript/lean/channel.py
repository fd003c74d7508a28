"""Moves frames between a child and the front; blocks, but never longer than until a deadline."""

import contextlib
import select
import socket
import time

from microservice.javascript.lean.frames import HEAD_BYTES, encode_frame, frame_bytes

READ_BYTES = 64 * 1024


class ClosedError(Exception):
    """The front has closed the socket: nobody waits for the answer any more."""


class Channel:
    """The child's end of its socket to the front."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._poll = select.poll()
        self._buffer = bytearray()

    def send(self, text: str, deadline: float) -> bool:
        """Send a frame; return False when the deadline comes before it is sent."""
        left = memoryview(encode_frame(text))
        while left:
            try:
                left = left[self._sock.send(left) :]
            except BlockingIOError:
                if not self._wait(select.POLLOUT, deadline):
                    return False
            except ConnectionError as exc:
                raise ClosedError from exc
        return True

    def receive(self, deadline: float | None) -> str | None:
        """Return the next frame; None when none comes before the deadline."""
        while True:
            if len(self._buffer) >= HEAD_BYTES:
                end = HEAD_BYTES + frame_bytes(bytes(self._buffer[:HEAD_BYTES]))
                if len(self._buffer) >= end:
                    text = self._buffer[HEAD_BYTES:end].decode()
                    del self._buffer[:end]
                    return text
            if not self._read(deadline):
                return None

    def finish(self, deadline: float) -> None:
        """Tell the end; return when the front has read everything and closed its side.

        A process that is gone makes the front's next write fail, and asyncio then forgets what it
        has not read yet.
        """
        with contextlib.suppress(OSError, ClosedError):
            self._sock.shutdown(socket.SHUT_WR)
            while self._read(deadline):
                self._buffer.clear()

    def _read(self, deadline: float | None) -> bool:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return self._wait(select.POLLIN, deadline)
        except ConnectionError as exc:
            raise ClosedError from exc
        if not data:
            raise ClosedError
        self._buffer += data
        return True

    def _wait(self, event: int, deadline: float | None) -> bool:
        limit_ms = None
        if deadline is not None:
            limit_ms = max(0.0, (deadline - time.monotonic()) * 1000)
        self._poll.register(self._sock, event)
        return bool(self._poll.poll(limit_ms))
