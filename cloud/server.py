"""Serves the HTTP application with uvicorn, on a socket that is already bound."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Generator

import uvicorn
from fastapi import FastAPI

from cloud.config import ApiSettings, format_address
from cloud.errors import StartError

BACKLOG = 1024
KEEP_ALIVE_S = 30
STOP_S = 2  # of the 5 s in which the process must have ended; broker and relay need some


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none: app.py handles signals for all parts."""
        yield


def bind(settings: ApiSettings) -> socket.socket:
    """Return a listening socket; StartError that names the setting when there can be none."""
    try:
        listening = socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=BACKLOG,
        )
    except OSError as exc:
        raise cannot_listen(settings.host, settings.port, exc, "api") from exc
    # asyncio does so for sockets it has made itself only; without, an answer whose head and body
    # are two writes waits 40 ms for the caller's delayed ACK. Accepted sockets inherit it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def cannot_listen(host: str, port: int, cause: BaseException, section: str) -> StartError:
    """Return the error that names an address, why it cannot be had, and the setting."""
    why = str(cause)
    if isinstance(cause, OSError) and cause.errno:
        # Not strerror: create_server() adds to it. Errors of name resolution are negative.
        why = os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
    return StartError(
        f"cannot listen on {format_address(host, port)}: {why.lower()}; "
        f"set [{section}] port or HECATE_{section.upper()}_PORT"
    )


def build_server(app: FastAPI, settings: ApiSettings) -> Server:
    """Return the server of an application, not yet started."""
    return Server(
        uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            limit_concurrency=settings.connection_limit,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
        )
    )
