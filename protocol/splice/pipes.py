"""Holds a stream's bytes between two sockets, in a kernel pipe or in memory.

Bytes in a pipe are never copied to this process (splice). Pipes are few and shared: a
direction that moves borrows one, and keeps it only while its receiver is slow. When all
are borrowed, or the kernel has no splice for a socket, memory does the same work slower.
"""

import errno
import fcntl
import os
import socket
from typing import Protocol

PIPE_BYTES = 1 << 20  # pipe-max-size of an unprivileged Linux process; fewer, larger moves
MEMORY_BYTES = 64 << 10
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS})
_FLAGS = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE if hasattr(os, "splice") else 0


class Buffer(Protocol):
    """Holds bytes in transit; filled only when empty."""

    held: int

    def fill(self, source: socket.socket) -> int:
        """Read from source; return 0 at its end. Raise BlockingIOError while it has no bytes."""

    def drain(self, sink: socket.socket) -> int:
        """Write to sink. Raise BlockingIOError while it accepts none."""

    def close(self) -> None:
        """Discard the bytes and free the buffer."""


class Pipe:
    """A kernel pipe."""

    __slots__ = ("_in", "_out", "_size", "held")

    def __init__(self, size_bytes: int) -> None:
        self.held = 0
        self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._size = fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, size_bytes)
        except OSError:  # pipe-user-pages-soft is used up: keep the default size
            self._size = fcntl.fcntl(self._in, fcntl.F_GETPIPE_SZ)

    def fill(self, source: socket.socket) -> int:
        """Read from source; return 0 at its end."""
        self.held = os.splice(source.fileno(), self._in, self._size, flags=_FLAGS)
        return self.held

    def drain(self, sink: socket.socket) -> int:
        """Write to sink."""
        moved = os.splice(self._out, sink.fileno(), self.held, flags=_FLAGS)
        self.held -= moved
        return moved

    def close(self) -> None:
        """Close both ends."""
        os.close(self._out)
        os.close(self._in)


class Memory:
    """Bytes in this process."""

    __slots__ = ("_bytes", "_start", "held")

    def __init__(self, content: bytes = b"") -> None:
        self._bytes = bytearray(content)
        self._start = 0
        self.held = len(content)

    def fill(self, source: socket.socket) -> int:
        """Read from source; return 0 at its end."""
        if len(self._bytes) < MEMORY_BYTES:
            self._bytes = bytearray(MEMORY_BYTES)
        self._start = 0
        self.held = source.recv_into(self._bytes)
        return self.held

    def drain(self, sink: socket.socket) -> int:
        """Write to sink."""
        end = self._start + self.held
        moved = sink.send(memoryview(self._bytes)[self._start : end])
        self._start += moved
        self.held -= moved
        return moved

    def close(self) -> None:
        """Free the memory."""
        self._bytes = bytearray()
        self.held = 0


class PipePool:
    """Lends buffers, with a limit on the number of pipes."""

    def __init__(self, limit: int, size_bytes: int = PIPE_BYTES) -> None:
        self._limit = limit if hasattr(os, "splice") else 0
        self._size_bytes = size_bytes
        self._free: list[Pipe] = []
        self._lent = 0

    def borrow(self) -> Buffer:
        """Return an empty buffer: a pipe while there are any."""
        if self._free:
            self._lent += 1
            return self._free.pop()
        if self._lent >= self._limit:
            return Memory()
        try:
            pipe = Pipe(self._size_bytes)
        except OSError:  # no file descriptors left: streams continue in memory
            return Memory()
        self._lent += 1
        return pipe

    def give_back(self, buffer: Buffer) -> None:
        """Take a buffer back; discard one that still holds bytes."""
        if not isinstance(buffer, Pipe):
            buffer.close()
            return
        self._lent -= 1
        if buffer.held or self._lent >= self._limit:
            buffer.close()
        else:
            self._free.append(buffer)

    def disable(self) -> None:
        """Stop lending pipes: this kernel cannot splice these sockets."""
        self._limit = 0
        self.close()

    def close(self) -> None:
        """Free the pipes that are not lent."""
        while self._free:
            self._free.pop().close()
