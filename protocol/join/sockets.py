"""Settings of sockets that carry streams."""

import contextlib
import socket
import struct

KEEP_IDLE_S, KEEP_EVERY_S, KEEP_PROBES = 15, 5, 3  # a dead peer is noticed within 30 s
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def tune(sock: socket.socket) -> None:
    """Make a connected socket fit for joining: non-blocking, prompt, and sure to notice death."""
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_PROBES)


def cut(sock: socket.socket) -> None:
    """Close at once: what was sent but not yet received is lost, the peer sees a reset."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.close()
