import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from web import HttpLimits, HttpServer, listen_tcp

LIMITS = HttpLimits(
    connections=16, connections_per_address=8, reserved=2, head_s=0.3, idle_s=1.0,
    progress_s=0.3, progress_bytes=1024, close_s=0.3, stop_s=0.5,
)  # fmt: skip


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the size of the body; /large with more than a socket holds."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"x" * 30_000_000 if scope["path"] == "/large" else b"%d" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Served:
    """A running server and its peers."""

    def __init__(self, server: HttpServer, port: int, tls: ssl.SSLContext | None) -> None:
        self.server, self.port, self.tls = server, port, tls

    async def open(
        self, *, plain: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = None if plain else self.tls
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def ask(
        self, request: bytes = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    ) -> bytes:
        reader, writer = await self.open()
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def serving(
    server_tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
    limits: HttpLimits = LIMITS,
) -> AsyncIterator[Served]:
    server = HttpServer(app, limits, server_tls)
    listener = listen_tcp("127.0.0.1", 0)
    port = listener.getsockname()[1]
    task = asyncio.create_task(server.run_on(listener))
    await server.listening.wait()
    try:
        yield Served(server, port, client_tls)
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task
