"""Answers refused visitors with a problem document (RFC 9457), and gives them time to read it."""

import asyncio
import contextlib
import re
import socket
from functools import partial

from protocol.splice import cut
from web.problems import encode_raw_problem

LINGER_S = 2.0
DISCARD_BYTES = 1 << 20  # of a request whose answer is already sent
_REQUEST_START = re.compile(rb"[A-Z]{1,20} /")


def is_http(data: bytes) -> bool:
    """Return whether first bytes look like those of an HTTP client."""
    return _REQUEST_START.match(data) is not None


def encode_rejection(status: int, why: str) -> bytes:
    """Return a whole HTTP response, after which the connection ends."""
    return encode_raw_problem(status, f"cannot reach BEP: {why}")


class RejectionWriter:
    """Closes the connections of refused visitors.

    A socket that is closed with unread bytes resets its peer, which may then never read the
    answer. Hence the rest of the request is read and discarded for a short time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def reject(self, sock: socket.socket, status: int, why: str) -> None:
        """Send the answer, which fits into an unused send buffer, and close shortly after."""
        try:
            sock.send(encode_rejection(status, why))
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            cut(sock)
            return
        if len(self._tasks) >= self._limit:
            sock.close()
            return
        task = self._loop.create_task(self._linger(sock), name="rejection")
        self._tasks.add(task)
        task.add_done_callback(partial(self._close, sock))

    async def close(self) -> None:
        """Close all connections at once."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        sock.close()  # also of a task that was cancelled before its first step

    async def _linger(self, sock: socket.socket) -> None:
        to_discard = DISCARD_BYTES
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while to_discard > 0:
                    data = await self._loop.sock_recv(sock, 65536)
                    if not data:
                        return
                    to_discard -= len(data)
