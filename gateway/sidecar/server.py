"""Makes the HTTP servers of the gateway, with its limits, and their sockets."""

import socket
import ssl
from pathlib import Path

import web
from gateway.errors import GatewayError
from web import HttpLimits, HttpServer, ListenError
from web.asgi import App

LIMITS = HttpLimits.of(512, stop_s=1)  # a small machine; a gateway stops within 5 s

Server = HttpServer


def make_server(app: App, tls: ssl.SSLContext | None = None) -> Server:
    """Return a server for an application; serve it with serve()."""
    return HttpServer(app, LIMITS, tls)


async def serve(server: Server, listener: socket.socket) -> None:
    """Serve until cancelled or stopped; open requests get a moment to end."""
    await server.run_on(listener)


def listen_tcp(
    host: str, port: int, setting: str = "[sidecar] port or HECATE_GATEWAY_SIDECAR_PORT"
) -> socket.socket:
    """Return a listening socket; GatewayError names the setting when the port is taken."""
    try:
        return web.listen_tcp(host, port)
    except ListenError as exc:
        hint = f"; set {setting}" if exc.is_setting_wrong else ""
        raise GatewayError(f"{exc}{hint}") from exc


def listen_unix(path: Path) -> socket.socket:
    """Return a socket listening on a path that only this user may connect to."""
    try:
        return web.listen_unix(path)
    except ListenError as exc:
        raise GatewayError(str(exc)) from exc
