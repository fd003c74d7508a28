"""Joins the bytes of two connections."""

import asyncio
import contextlib
import socket
from typing import Protocol

# An asyncio stream would read 256 KiB at once.
READ_BYTES = 64 * 1024
CONNECT_RETRY_S = 0.02


class JoinableStream(Protocol):
    """One end of a joined pair."""

    async def read(self) -> bytes:
        """Return the next bytes; b"" when the peer has ended its direction."""

    async def write(self, data: bytes) -> None:
        """Send bytes; wait while the peer takes none."""

    def end(self) -> None:
        """End this direction."""

    def abort(self) -> None:
        """Close now."""


class SocketStream:
    """A connected socket that does not block."""

    def __init__(self, connection: socket.socket, unread: bytes = b"") -> None:
        """Take over the socket, and bytes that were read from it already."""
        self._socket, self._unread = connection, unread

    async def read(self) -> bytes:
        """Return the next bytes; b"" when the peer has ended its direction."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        return await asyncio.get_running_loop().sock_recv(self._socket, READ_BYTES)

    async def write(self, data: bytes) -> None:
        """Send bytes; wait while the peer takes none."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def end(self) -> None:
        """End this direction."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Close now; a task that waits for the socket sees its end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


async def join(near: JoinableStream, far: JoinableStream, idle_s: float) -> bool:
    """Copy bytes both ways until both directions have ended.

    Each direction holds one piece, so a side that takes nothing stops the other. Returns False
    when nothing moved for idle_s; both sides are cut then.
    """
    loop = asyncio.get_running_loop()
    moved_at = loop.time()

    async def copy(source: JoinableStream, sink: JoinableStream) -> None:
        nonlocal moved_at
        try:
            while data := await source.read():
                await sink.write(data)
                moved_at = loop.time()
            sink.end()
        except OSError:  # one side is gone: nothing can reach it, and nothing comes from it
            source.abort()
            sink.abort()

    copying = {asyncio.create_task(copy(near, far)), asyncio.create_task(copy(far, near))}
    pending = copying
    try:
        while pending:
            left_s = moved_at + idle_s - loop.time()
            if left_s <= 0:
                return False
            _, pending = await asyncio.wait(pending, timeout=left_s)
        return True
    finally:
        if pending:
            near.abort()
            far.abort()
        for task in copying:
            task.cancel()
        await asyncio.gather(*copying, return_exceptions=True)


async def connect_unix(path: str) -> socket.socket:
    """Return a connection to a Unix socket, also when its backlog is full for a moment.

    Connects by itself: asyncio takes the EAGAIN of a full backlog for "in progress", and then for
    success.
    """
    with contextlib.ExitStack() as undo:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        undo.callback(connection.close)
        connection.setblocking(False)
        while True:
            try:
                connection.connect(path)
            except BlockingIOError:
                await asyncio.sleep(CONNECT_RETRY_S)
            else:
                undo.pop_all()
                return connection
