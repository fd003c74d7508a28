"""Serves connected sockets that the embedding program hands over, as an acceptor serves its own."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from functools import partial
from socket import SHUT_RDWR
from typing import TYPE_CHECKING

from broker.net.connection import ClientConnection
from broker.net.listeners import Listener
from broker.quota.connection_limiter import ListenerQuota

if TYPE_CHECKING:
    import socket

    from broker.net.hub import Hub
    from broker.net.transport import Poller
    from broker.policy import Credentials
    from broker.quota.connection_limiter import ConnectionLimiter, ConnectionSlot


class Adopter:
    """Makes connections of sockets: with the limits, counters and deadlines of all others."""

    def __init__(
        self, hub: Hub, connection_limiter: ConnectionLimiter, poller: Poller | None
    ) -> None:
        self._hub, self._connection_limiter, self._poller = hub, connection_limiter, poller
        self._loop = asyncio.get_running_loop()
        self._quotas: dict[str, ListenerQuota] = {}  # by the name of a listener

    async def adopt(self, connected: socket.socket, name: str, peer: str, proved: str) -> bool:
        """Serve a socket; close it, and return False, when a limit of connections is reached."""
        quota = self._quotas.setdefault(name, ListenerQuota())
        cut = partial(_hang_up, connected)
        slot = self._connection_limiter.enter(peer, self._loop.time(), quota, cut)
        if slot is None:
            connected.close()
            return False
        connection = AdoptedConnection(self._hub, Listener(name=name), peer, slot, proved)
        connected.setblocking(False)
        if self._poller is not None:
            self._poller.open(connected, connection)
        else:
            await self._loop.connect_accepted_socket(lambda: connection, connected)
        return True


class AdoptedConnection(ClientConnection):
    """One socket whose other end the embedding program knows."""

    __slots__ = ("_proved",)

    def __init__(
        self, hub: Hub, listener: Listener, peer: str, place: ConnectionSlot, proved: str
    ) -> None:
        super().__init__(hub, listener, peer, place)
        self._proved = proved

    def _complete(self, credentials: Credentials) -> Credentials:
        return replace(super()._complete(credentials), proved=self._proved)


def _hang_up(connected: socket.socket) -> None:
    """Shut a connection down; its owner then reads the end."""
    with contextlib.suppress(OSError):  # it has ended
        connected.shutdown(SHUT_RDWR)
