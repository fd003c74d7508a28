"""Opens the sockets that servers listen on."""

import errno
import os
import socket
from pathlib import Path

from settings.addresses import format_address
from web.errors import ListenError

BACKLOG = 1024  # connections that the kernel holds for a busy loop
_OTHER_PORT = (errno.EADDRINUSE, errno.EACCES)


def listen_tcp(host: str, port: int) -> socket.socket:
    """Return a listening socket; ListenError when there can be none."""
    where = format_address(host, port)
    try:
        family, _, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    except OSError as exc:
        raise ListenError(where, (exc.strerror or str(exc)).lower()) from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # for accepted sockets, too: asyncio sets it only on those that it has made, and an answer
        # whose head and body are two writes waits 40 ms for the caller's delayed ACK
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        why = os.strerror(exc.errno or 0).lower()
        raise ListenError(where, why, is_setting_wrong=exc.errno in _OTHER_PORT) from exc
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Return a socket listening on a path that only this user may connect to."""
    path.unlink(missing_ok=True)  # of a process that was killed; the state folder is locked
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise ListenError(str(path), (exc.strerror or str(exc)).lower()) from exc
    return listener
