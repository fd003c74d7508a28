"""Accepts connections of nodes and passes each to the part that speaks its protocol. Does I/O."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.addresses import is_loopback
from protocol.node_tls import NodeTlsCodec, NodeTlsContext
from protocol.splice import couple, tune
from settings.addresses import format_peer

logger = logging.getLogger(__name__)

HANDSHAKES_AT_ONCE = 64  # of connections that have not proved a node id
HANDSHAKES_OF_HOST = 32  # the same of one address: a broken device leaves a way in for others
HANDSHAKE_S = 4.0
CONNECTIONS_LIMIT = 4096  # 1,000 members with two each, and calls

Serve = Callable[[socket.socket, NodeTlsCodec, str], Awaitable[None]]  # plain side, proof, address


class PeerServer:
    """Serves the cluster port; what a connection is for stands in its handshake (ALPN)."""

    def __init__(self, context: NodeTlsContext, protocols: Mapping[str, Serve]) -> None:
        self._context, self._protocols = context, protocols
        self._handshakes = Counter[str]()  # by the address of the other end
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed = 0  # connections without a handshake, and those beyond a limit

    async def run(self, listeners: Sequence[socket.socket]) -> None:
        """Accept until cancelled; then end all connections."""
        try:
            async with asyncio.TaskGroup() as group:
                for listener in listeners:
                    group.create_task(self._accept_all(listener))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept_all(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                carrier, peer = await loop.sock_accept(listener)
            except OSError as exc:
                logger.warning("cannot accept a peer: %s", exc)
                await asyncio.sleep(1.0)
                continue
            if not self._has_room(peer[0]):
                carrier.close()
                self.failed += 1
                continue
            self._handshakes[peer[0]] += 1
            task = asyncio.create_task(self._serve(carrier, peer[0], format_peer(peer)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _has_room(self, host: str) -> bool:
        """Return whether a connection from an address may begin its handshake."""
        limit = HANDSHAKES_AT_ONCE if is_loopback(host) else HANDSHAKES_OF_HOST
        return (
            self._handshakes.total() < HANDSHAKES_AT_ONCE
            and self._handshakes[host] < limit
            and len(self._tasks) < CONNECTIONS_LIMIT
        )

    async def _serve(self, carrier: socket.socket, host: str, address: str) -> None:
        codec = self._context.accept()
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                tune(carrier)
                sock = await couple(carrier, codec)
        except (OSError, TimeoutError) as exc:
            carrier.close()
            self.failed += 1
            logger.debug("no handshake with %s: %s", address, exc or "no answer")
            return
        finally:
            self._handshakes[host] -= 1
            if not self._handshakes[host]:
                del self._handshakes[host]
        if codec.peer_id == self._context.node_id:  # it has dialled itself
            sock.close()
        else:
            await self._protocols[codec.protocol](sock, codec, address)
