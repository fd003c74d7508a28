"""Finds the HTTP proxy on the way to the cloud and connects through it (RFC 9110, 9.3.6).

The setting has precedence over the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY in either
case). Loopback addresses ignore the proxy of the environment: no proxy reaches them.
"""

import asyncio
import base64
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from gateway.addresses import format_address, is_loopback
from protocol.secret import Secret
from protocol.splice import tune

logger = logging.getLogger(__name__)

Dial = Callable[[str, int], Awaitable[socket.socket]]

TIMEOUT_S = 4.0
DEFAULT_PORT = 3128  # of Squid
HEAD_LIMIT_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; its URL may hold a password."""

    url: Secret
    host: str
    port: int
    authorization: Secret

    def __str__(self) -> str:
        return format_address(self.host, self.port)


def read_proxy(url: str) -> Proxy:
    """Return the proxy of a URL; ValueError when the URL cannot be used."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("must be like http://proxy.example.com:3128")
    port = parts.port or DEFAULT_PORT
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    encoded = base64.b64encode(credentials.encode()).decode()
    user = f"{parts.username or ''}:{parts.password or ''}@" if parts.username else ""
    return Proxy(
        Secret(f"http://{user}{format_address(parts.hostname, port)}"),
        parts.hostname,
        port,
        Secret(f"Basic {encoded}" if parts.username else ""),
    )


def find_proxy(setting: str, scheme: str, host: str) -> Proxy | None:
    """Return the proxy for a host of the cloud; None for a direct connection."""
    if setting:
        return read_proxy(setting)
    if host == "localhost" or is_loopback(host):
        return None
    from urllib.request import getproxies_environment, proxy_bypass  # 2 MiB, with http.client

    known = getproxies_environment()
    url = known.get(scheme) or known.get("all") or ""
    if not url or proxy_bypass(host):
        return None
    try:
        return read_proxy(url if "://" in url else f"http://{url}")
    except ValueError as exc:
        logger.warning("ignoring the proxy in the environment: it %s", exc)
        return None


def connect_through(proxy: Proxy, host: str, port: int, timeout_s: float) -> socket.socket:
    """Return a socket that the proxy has connected to a host; OSError when it does not. Blocks."""
    target = format_address(host, port)
    head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        head.append(f"Proxy-Authorization: {proxy.authorization.reveal()}")
    sock = socket.create_connection((proxy.host, proxy.port), timeout=timeout_s)
    try:
        sock.sendall("\r\n".join([*head, "", ""]).encode())
        _check_answer(sock, proxy)
    except BaseException:
        sock.close()
        raise
    return sock


def dial_through(setting: str, scheme: str, direct: Dial) -> Dial:
    """Return a function that dials through the proxy of a host, or directly without one."""

    async def dial(host: str, port: int) -> socket.socket:
        proxy = find_proxy(setting, scheme, host)
        if proxy is None:
            return await direct(host, port)
        sock = await asyncio.to_thread(connect_through, proxy, host, port, TIMEOUT_S)
        tune(sock)
        return sock

    return dial


def _check_answer(sock: socket.socket, proxy: Proxy) -> None:
    """Read the head of an answer and no byte behind it: later bytes belong to the peer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte or len(head) >= HEAD_LIMIT_BYTES:
            raise ConnectionResetError(f"the proxy {proxy} closed the connection")
        head += byte
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise ConnectionResetError(f"the proxy {proxy} does not answer in HTTP")
    if not words[1].startswith(b"2"):
        status = words[1].decode("ascii", "replace")
        raise ConnectionRefusedError(f"the proxy {proxy} answers CONNECT with {status}")
