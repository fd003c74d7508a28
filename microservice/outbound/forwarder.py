"""Listens on loopback in a container, for libraries that know proxies and TCP but no Unix socket.

Where the container has no network of its own, every user of the machine reaches its loopback
ports. So the proxy asks for a password: there another user would be this container.
"""

import asyncio
import base64
import contextlib
import hmac
import logging
import re
import secrets
from collections.abc import Awaitable, Callable

from microservice.errors import OutboundError
from microservice.outbound.exchange import READ_BYTES
from microservice.outbound.tunnels import Streams, join_streams, open_tunnel

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
CONNECTIONS = 32  # of one port at once
HEAD_S = 10.0
USER = "container"

_AUTHORIZATION = re.compile(rb"(?im)^proxy-authorization:[ \t]*basic[ \t]+([A-Za-z0-9+/=]+)\r?$")
_DENIED = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
    b'Proxy-Authenticate: Basic realm="hecate"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
)


class LocalForwarder:
    """The local ports of one container."""

    def __init__(self, gateway_socket: str) -> None:
        self._gateway_socket = gateway_socket
        self._servers: list[asyncio.Server] = []
        self._password = secrets.token_urlsafe(24)

    async def open_proxy(self) -> str:
        """Listen as an HTTP proxy; return its URL, with the password."""
        port = await self._listen(self._serve_proxy)
        return f"http://{USER}:{self._password}@{HOST}:{port}"

    async def open_forward(self, place: str) -> tuple[str, int]:
        """Listen on a port whose connections lead to HOST:PORT; return its address."""

        async def serve(near: Streams, far: Streams) -> None:
            try:
                unread = await open_tunnel(far, place)
            except OutboundError as exc:
                logger.warning("%s", exc)
                return
            near[1].write(unread)
            await join_streams(near, far)

        return HOST, await self._listen(serve)

    async def close(self) -> None:
        """Stop to listen."""
        for server in self._servers:
            server.close()

    async def _listen(self, serve: Callable[[Streams, Streams], Awaitable[None]]) -> int:
        slots = asyncio.Semaphore(CONNECTIONS)

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with slots:
                    far = await asyncio.open_unix_connection(self._gateway_socket, limit=READ_BYTES)
                    with contextlib.closing(far[1]):
                        await serve((reader, writer), far)
            except OSError as exc:
                logger.debug("a local connection ends: %s", exc)
            finally:
                writer.close()

        server = await asyncio.start_server(accept, HOST, 0, limit=READ_BYTES)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _serve_proxy(self, near: Streams, far: Streams) -> None:
        reader, writer = near
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        if not self._is_ours(head):
            writer.write(_DENIED)
            await writer.drain()
            return
        far[1].write(head)
        await join_streams(near, far)

    def _is_ours(self, head: bytes) -> bool:
        expected = base64.b64encode(f"{USER}:{self._password}".encode())
        return any(hmac.compare_digest(shown, expected) for shown in _AUTHORIZATION.findall(head))
