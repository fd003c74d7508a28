"""Accepts connections of nodes and passes each to the part that speaks its protocol. Does I/O."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

from protocol.node_tls import NodeTlsCodec, NodeTlsContext
from protocol.splice import couple, tune
from settings.addresses import format_peer

logger = logging.getLogger(__name__)

HANDSHAKES_AT_ONCE = 64  # of connections that have not proved a node id
HANDSHAKE_S = 4.0
CONNECTIONS_LIMIT = 4096  # 1,000 members with two each, and calls

Serve = Callable[[socket.socket, NodeTlsCodec, str], Awaitable[None]]  # plain side, proof, address


class PeerServer:
    """Serves the cluster port; what a connection is for stands in its handshake (ALPN)."""

    def __init__(self, context: NodeTlsContext, protocols: Mapping[str, Serve]) -> None:
        self._context, self._protocols = context, protocols
        self._handshakes = 0
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
            if self._handshakes >= HANDSHAKES_AT_ONCE or len(self._tasks) >= CONNECTIONS_LIMIT:
                carrier.close()
                self.failed += 1
                continue
            self._handshakes += 1
            task = asyncio.create_task(self._serve(carrier, format_peer(peer)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, carrier: socket.socket, address: str) -> None:
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
            self._handshakes -= 1
        if codec.peer_id == self._context.node_id:  # it has dialled itself
            sock.close()
        else:
            await self._protocols[codec.protocol](sock, codec, address)
