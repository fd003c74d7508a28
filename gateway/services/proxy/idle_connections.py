"""Keeps connections to the processes of containers open between two requests.

Theory of operation
-------------------
A new connection costs both processes some turns of their loops. Three rules hold after every call:

1. A connection is given to one request, and only while nothing is to be read from it: otherwise
   its server has closed it, or has sent more than its answer.
2. At most EACH are idle for a process and ALL together; a further one replaces the oldest.
3. None is idle for longer than IDLE_S. The servers' own limit is far longer, so that none closes
   a connection while a request is on its way.
"""

import asyncio
import socket
from dataclasses import dataclass
from typing import Generic, TypeVar

EACH, ALL = 8, 64
IDLE_S = 4.0

S = TypeVar("S")  # a server


@dataclass(frozen=True, slots=True)
class _IdleConnection(Generic[S]):
    server: S
    connection: socket.socket
    deadline: float


class IdleConnections(Generic[S]):
    """The connections that no request uses, the oldest first."""

    def __init__(self) -> None:
        self._idle: list[_IdleConnection[S]] = []
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, server: S) -> socket.socket | None:
        """Return a connection to a server, the one that was used last; None if there is none."""
        for each in reversed(self._idle):
            if each.server is server:
                self._idle.remove(each)
                if _is_quiet(each.connection):
                    return each.connection
                each.connection.close()
        return None

    def keep(self, server: S, connection: socket.socket) -> None:
        """Take over a connection whose last request is answered."""
        own = [each for each in self._idle if each.server is server]
        if len(own) >= EACH:
            self._close(own[0])
        elif len(self._idle) >= ALL:
            self._close(self._idle[0])
        loop = asyncio.get_running_loop()
        self._idle.append(_IdleConnection(server, connection, loop.time() + IDLE_S))
        if self._timer is None:
            self._timer = loop.call_later(IDLE_S, self._close_old)

    def close(self) -> None:
        """Close all."""
        for each in tuple(self._idle):
            self._close(each)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self, each: _IdleConnection[S]) -> None:
        self._idle.remove(each)
        each.connection.close()

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._idle and self._idle[0].deadline <= loop.time():
            self._close(self._idle[0])
        if self._idle:
            self._timer = loop.call_at(self._idle[0].deadline, self._close_old)


def _is_quiet(connection: socket.socket) -> bool:
    """Return whether a connection is open and nothing came over it."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
