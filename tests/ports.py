"""Finds free TCP ports on loopback."""

import socket


def free_port() -> int:
    """Return a port that is free now; only for programs that cannot take port 0."""
    with hold_port() as held:
        port: int = held.getsockname()[1]
        return port


def hold_port() -> socket.socket:
    """Return a socket that listens on a free port, so that nobody else can."""
    return socket.create_server(("127.0.0.1", 0))
