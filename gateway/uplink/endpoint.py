"""Connects to the cloud's broker: directly, through a proxy, or through another node."""

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.cloud_api.http_proxy import Proxy, connect_through
from settings.addresses import format_address

# TCP keep-alive: seconds of silence, seconds between probes, probes; and milliseconds for data.
# A loss is noticed 3 s after the last packet, or 2.5 s after data that was sent within these 3 s.
_CLOSELY = (1, 1, 2, 2_500)
_SELDOM = (15, 5, 3, 0)
PUBACK_WINDOW = 512  # messages that the broker has not acknowledged


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of the cloud's broker and the way to it."""

    host: str
    port: int
    # returns the same context each time; the first call reads the authorities: 10 ms, 0.8 MiB
    tls: Callable[[], ssl.SSLContext] | None
    proxy: Proxy | None = None
    way_socket: Path | None = None  # the Unix socket that leads there through another node
    via: str = ""  # the node that the way goes through; "" for a direct one

    def __str__(self) -> str:
        place = format_address(self.host, self.port)
        return f"{place} through node {self.via:.12}" if self.via else place

    def through(self, node_id: str) -> "Endpoint":
        """Return the endpoint by a way through a node; the same one for a direct way."""
        return replace(self, proxy=None, via=node_id) if node_id else self

    @property
    def transport(self) -> str:
        """The transport below MQTT, in words."""
        kind = "TLS" if self.tls else "TCP"
        if self.via:
            return f"{kind} through node {self.via:.12}"
        return f"WebSocket over {kind} through proxy {self.proxy}" if self.proxy else kind

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a connected socket; OSError when there is none. Blocks."""
        if self.via and self.way_socket is not None:
            return _connect_unix(self.way_socket, timeout_s)
        if self.proxy is None:
            sock = socket.create_connection((self.host, self.port), timeout=timeout_s)
        else:
            sock = connect_through(self.proxy, self.host, self.port, timeout_s)
        # a PUBACK and the answer behind it are two small packets: 40 ms apart otherwise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


def watch_socket(sock: socket.socket, *, closely: bool) -> None:
    """Let the system detect within 5.5 s, or within half a minute, that packets vanish.

    A proxy, or another node, answers for the cloud: only a direct way can be watched so.
    """
    if sock.family == socket.AF_UNIX:
        return
    idle_s, every_s, probes, unacknowledged_ms = _CLOSELY if closely else _SELDOM
    with contextlib.suppress(OSError):  # it has just closed
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, idle_s),
            (socket.TCP_KEEPINTVL, every_s),
            (socket.TCP_KEEPCNT, probes),
            (socket.TCP_USER_TIMEOUT, unacknowledged_ms),
        ):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _connect_unix(path: Path, timeout_s: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock
