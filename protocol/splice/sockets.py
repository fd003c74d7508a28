"""Configures and closes sockets that carry streams."""

import contextlib
import socket
import struct
from typing import Protocol

KEEP_IDLE_S, KEEP_EVERY_S, KEEP_PROBES = 15, 5, 3  # detects a dead peer within 30 s
TCP_INFO_BYTES, TCP_INFO_RETRANSMITS = 104, 2  # struct tcp_info of Linux: size, place of a byte
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Coupling(Protocol):
    """The connection behind a coupled socket."""

    was_cut: bool

    @property
    def is_unanswered(self) -> bool:
        """True when the kernel repeats bytes in vain."""

    def cut(self) -> None:
        """End the connection behind it with a reset."""


def is_unanswered(sock: socket.socket) -> bool:
    """Return whether the kernel repeats bytes in vain: the peer's machine or the way is gone.

    A machine whose program does not run acknowledges all the same. True where the kernel does not
    tell.
    """
    if isinstance(sock, CoupledSocket):
        return sock.coupling.is_unanswered
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    except (AttributeError, OSError):
        return True
    return info[TCP_INFO_RETRANSMITS] > 0


class CoupledSocket(socket.socket):
    """A Unix socket in the place of a TLS connection; knows resets, which Unix sockets lack."""

    def __init__(self, sock: socket.socket, coupling: Coupling) -> None:
        """Take over a socket."""
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.coupling = coupling


def was_cut(sock: socket.socket) -> bool:
    """Return whether the connection behind a coupled socket ended with a reset."""
    return isinstance(sock, CoupledSocket) and sock.coupling.was_cut


def tune(sock: socket.socket) -> None:
    """Prepare a connected socket: non-blocking, without delay, with keep-alive."""
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_PROBES)


def cut(sock: socket.socket) -> None:
    """Close at once with a reset; bytes in transit are lost."""
    if isinstance(sock, CoupledSocket):
        sock.coupling.cut()
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.close()
