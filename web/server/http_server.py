"""Serves an ASGI application on sockets that listen already, plain or with TLS."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from web.addresses import address_key
from web.asgi import App
from web.server.connection import (
    ConnectionBounds,
    GivenConnection,
    HttpConnection,
    HttpFactory,
)
from web.server.connection_table import ConnectionTable
from web.server.limits import HttpLimits
from web.server.listening import BACKLOG
from web.server.uvicorn_parts import Config, Server
from web.tls.transport import TlsHandshakes, TlsProtocol

TICKS_PER_SWEEP = 5  # of 0.1 s: all limits are seconds


class HttpServer(Server):
    """An HTTP server with bounds; it leaves signals to the process.

    Args:
        app: the application.
        limits: how much peers may hold.
        tls: a context, which the server ends TLS with; None for plain HTTP.
        proxies: addresses whose X-Forwarded-For is believed and that have no bound of their own.
        by_listener: connections are bounded by the socket that accepts them, not by their peer.
    """

    def __init__(
        self,
        app: App,
        limits: HttpLimits,
        tls: ssl.SSLContext | None = None,
        proxies: Sequence[str] = (),
        *,
        by_listener: bool = False,
    ) -> None:
        key_of = str if by_listener else address_key
        self.bounds = ConnectionBounds(
            limits,
            ConnectionTable[HttpConnection](limits, frozenset(proxies), key_of),
            by_listener,
        )
        self.listening = asyncio.Event()
        self._added: dict[socket.socket, asyncio.Server] = {}
        super().__init__(
            Config(
                app,
                http=_with_tls(HttpFactory(self.bounds), tls),  # type: ignore[arg-type]  # a factory
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # a caller may not choose its own address
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
                timeout_keep_alive=int(limits.idle_s),
                timeout_graceful_shutdown=int(limits.stop_s),
            )
        )

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until cancelled or stopped; open requests get a moment to end."""
        name = listener.getsockname() if listener.family == socket.AF_UNIX else ""
        try:
            await self._run([listener])
        finally:
            listener.close()
            _remove(name)

    async def run_on_added(self) -> None:
        """Serve the sockets that add_listener() adds, until cancelled or stopped."""
        await self._run([])

    async def add_listener(self, listener: socket.socket) -> None:
        """Serve on one more socket; its owner removes and closes it."""
        await self.listening.wait()
        server = await asyncio.get_running_loop().create_server(
            self._make_connection, sock=listener, backlog=BACKLOG
        )
        self.servers.append(server)
        self._added[listener] = server

    async def serve_connection(self, sock: socket.socket, peer: str, state: dict[str, Any]) -> None:
        """Serve a connected plain socket that another part has accepted, until it ends.

        Args:
            sock: not blocking; the server closes it.
            peer: the key under which its connections are bounded.
            state: scope["state"] of its requests.
        """
        ended = asyncio.Event()

        def make() -> asyncio.Protocol:
            return cast(
                "asyncio.Protocol",
                GivenConnection(
                    self.bounds,
                    peer,
                    ended,
                    config=self.config,
                    server_state=self.server_state,
                    app_state=state,
                ),
            )

        transport: asyncio.Transport | None = None
        try:
            await self.listening.wait()
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(make, sock)
            await ended.wait()
        finally:
            if transport is None:
                sock.close()
            else:
                transport.abort()

    def remove_listener(self, listener: socket.socket) -> None:
        """Accept no more connections on a socket; open ones go on."""
        server = self._added.pop(listener, None)
        if server is not None:
            self.servers.remove(server)
            server.close()

    def _make_connection(self) -> asyncio.Protocol:
        make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def _run(self, listeners: list[socket.socket]) -> None:
        serving = asyncio.ensure_future(self.serve(sockets=listeners))
        try:
            await asyncio.shield(serving)
        finally:
            self.stop()
            await serving

    def stop(self) -> None:
        """Accept no more requests; open ones get a moment to end."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve."""
        await super().startup(sockets)
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        """End the connections whose deadline has passed."""
        if counter % TICKS_PER_SWEEP == 0:
            now = asyncio.get_running_loop().time()
            for connection in self.bounds.table.all():
                connection.tick(now)
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers as they are."""
        yield


def _remove(name: str) -> None:
    """Remove the name of a Unix socket that is closed."""
    if name:
        Path(name).unlink(missing_ok=True)


def _with_tls(
    make: Callable[..., asyncio.Protocol], tls: ssl.SSLContext | None
) -> Callable[..., asyncio.Protocol]:
    if tls is None:
        return make
    queue = TlsHandshakes()

    def make_secure(**parts: Any) -> asyncio.Protocol:
        return TlsProtocol(tls, make(**parts), queue)

    return make_secure
