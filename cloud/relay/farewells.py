"""Tells refused visitors why, and gives them time to read it."""

import asyncio
import contextlib
import socket
from functools import partial

from protocol.join import cut

LINGER_S = 2.0
DISCARD_BYTES = 1 << 20  # of a request whose answer is already sent


class Farewells:
    """Visitors on their way out.

    A socket closed with unread bytes resets its peer, which may then never see the answer:
    so what still comes is read and thrown away, for a while.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def say(self, sock: socket.socket, answer: bytes) -> None:
        """Send answer, which fits into an unused send buffer, and close in a while."""
        try:
            sock.send(answer)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            cut(sock)
            return
        if len(self._tasks) >= self._limit:
            sock.close()
            return
        task = self._loop.create_task(self._linger(sock), name="farewell")
        self._tasks.add(task)
        task.add_done_callback(partial(self._forget, sock))

    async def close(self) -> None:
        """Close all at once."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        sock.close()  # also of one that was cancelled before its first step

    async def _linger(self, sock: socket.socket) -> None:
        left = DISCARD_BYTES
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while left > 0:
                    data = await self._loop.sock_recv(sock, 65536)
                    if not data:
                        return
                    left -= len(data)
