"""Connections without a proof: those of one address leave room for others."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.cluster.links import server as module
from gateway.cluster.links.link import CONTROL, dial
from gateway.cluster.links.server import HANDSHAKES_OF_HOST, PeerServer
from protocol.keys import new_node_key
from protocol.node_tls import NodeTlsCodec, NodeTlsContext
from tests.aio import until


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[PeerServer, int, list[str]]]:
    """Give a server, its port, and the node ids that it has served."""
    served: list[str] = []

    async def serve(sock: socket.socket, codec: NodeTlsCodec, _address: str) -> None:
        served.append(codec.peer_id)
        sock.close()

    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    listener.setblocking(False)
    server = PeerServer(NodeTlsContext(new_node_key(), [CONTROL]), {CONTROL: serve})
    running = asyncio.create_task(server.run([listener]))
    try:
        yield server, int(listener.getsockname()[1]), served
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        listener.close()


def test_half_open_connections_of_one_address_keep_no_other_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "is_loopback", lambda _: False)

    async def run() -> None:
        async with serving() as (server, port, served):
            loop = asyncio.get_running_loop()
            with contextlib.ExitStack() as stack:
                for _ in range(2 * HANDSHAKES_OF_HOST):
                    sock = stack.enter_context(socket.socket())
                    sock.setblocking(False)
                    sock.bind(("127.0.0.2", 0))
                    await loop.sock_connect(sock, ("127.0.0.1", port))
                await until(lambda: server.failed == HANDSHAKES_OF_HOST)
                key = new_node_key()
                context = NodeTlsContext(key, [CONTROL])
                sock, _, _ = await dial((f"127.0.0.1:{port}",), "", context, CONTROL)
                await until(lambda: served == [key.node_id])
                sock.close()

    asyncio.run(run())
