"""HTTP servers on a TCP port and on Unix sockets."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from gateway.addresses import format_address
from gateway.errors import GatewayError
from gateway.inprocess import App

CONNECTION_LIMIT = 512  # more get 503: this is a small machine
KEEP_ALIVE_S = 30
GRACE_S = 1  # for open requests at the end; a gateway stops within 5 s
BACKLOG = 128


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the gateway."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers as they are."""
        yield


def make_server(app: App) -> Server:
    """Return a server for an application; serve it with serve()."""
    return Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # a caller may not choose the address it comes from
            server_header=False,
            limit_concurrency=CONNECTION_LIMIT,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
    )


async def serve(server: Server, listener: socket.socket) -> None:
    """Serve until cancelled or told to stop; open requests get a moment to end."""
    name = listener.getsockname() if listener.family == socket.AF_UNIX else ""
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving
        listener.close()
        _take_name_away(name)


def listen_tcp(
    host: str, port: int, setting: str = "[sidecar] port or HECATE_SIDECAR_PORT"
) -> socket.socket:
    """Return a listening socket; GatewayError names the setting when the port is taken."""
    try:
        family, _, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # the protocol is named so that asyncio sets TCP_NODELAY: 40 ms per answer otherwise
        listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    except OSError as exc:
        raise GatewayError(f"cannot listen on {format_address(host, port)}: {exc}") from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        why = os.strerror(exc.errno or 0).lower()
        hint = f"; set {setting}" if exc.errno in (errno.EADDRINUSE, errno.EACCES) else ""
        raise GatewayError(f"cannot listen on {format_address(host, port)}: {why}{hint}") from exc
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Return a socket listening on a path that only this user may connect to."""
    path.unlink(missing_ok=True)  # left by a process that was killed; the state folder is locked
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise GatewayError(f"cannot listen on {path}: {exc.strerror}") from exc
    return listener


def _take_name_away(name: str) -> None:
    if name:
        Path(name).unlink(missing_ok=True)
