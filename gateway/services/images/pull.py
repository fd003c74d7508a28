"""Pulls an image from a URL: each address is checked before it is connected to.

The check of the name and the connection use one answer of the name server, so that no second answer
can lead elsewhere. Redirects are followed by hand, each checked like the first URL.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urljoin

import httpcore

from gateway.services.errors import ImageError, ImageSizeError
from gateway.services.images.sources import (
    REDIRECTS_LIMIT,
    PullSource,
    check_address,
    check_source,
)

CONNECT_S, READ_S = 10.0, 30.0
WHOLE_S = 900.0  # 64 MiB at 75 KB/s
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TIMEOUT = {"connect": CONNECT_S, "read": READ_S, "write": READ_S, "pool": CONNECT_S}

_Options = Iterable[Any] | None


@contextlib.asynccontextmanager
async def open_pull(
    url: str,
    pull_hosts: Sequence[str],
    limit_bytes: int,
    trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Yield the bytes of an image at a URL.

    Raises:
        ImageError: the URL is not allowed, or there is no image.
        ImageSizeError: it says at once that it is too large.
    """
    source = check_source(url, pull_hosts, None)
    tls = await asyncio.to_thread(trust) if url.startswith("https:") else None
    try:
        async with asyncio.timeout(WHOLE_S):
            for _ in range(REDIRECTS_LIMIT + 1):
                async with _get(source, tls) as response:
                    if response.status not in _REDIRECTS:
                        yield _body(source, response, limit_bytes)
                        return
                    location = _header(response, b"location")
                source = check_source(urljoin(source.url, location), pull_hosts, source)
                if source.url.startswith("https:") and tls is None:
                    tls = await asyncio.to_thread(trust)
    except (httpcore.TimeoutException, TimeoutError) as exc:
        raise ImageError(f"cannot pull image: {source.host} is too slow") from exc
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as exc:
        raise ImageError(f"cannot pull image: {source.host}: {exc or type(exc).__name__}") from exc
    raise ImageError(f"cannot pull image: more than {REDIRECTS_LIMIT} redirects")


@contextlib.asynccontextmanager
async def _get(source: PullSource, tls: ssl.SSLContext | None) -> AsyncIterator[httpcore.Response]:
    backend = _CheckedBackend(source)
    headers = [("Host", _host_header(source)), ("Accept", "*/*"), ("User-Agent", "hecate")]
    async with (
        httpcore.AsyncConnectionPool(ssl_context=tls, network_backend=backend) as pool,
        pool.stream(
            "GET", source.url, headers=headers, extensions={"timeout": _TIMEOUT}
        ) as response,
    ):
        yield response


async def _body(
    source: PullSource, response: httpcore.Response, limit_bytes: int
) -> AsyncIterator[bytes]:
    if response.status != 200:
        raise ImageError(f"cannot pull image: {source.host} answers with {response.status}")
    length = _header(response, b"content-length")
    if length.isdigit() and int(length) > limit_bytes:
        raise ImageSizeError(f"cannot pull image: it has {length} bytes, over {limit_bytes}")
    async for chunk in response.aiter_stream():
        yield chunk


def _header(response: httpcore.Response, name: bytes) -> str:
    found = (value for key, value in response.headers if key.lower() == name)
    return next(found, b"").decode("latin-1")


def _host_header(source: PullSource) -> str:
    host = f"[{source.host}]" if ":" in source.host else source.host
    return f"{host}:{source.port}"


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, source: PullSource) -> None:
        self._source = source
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the port's signature
        local_address: str | None = None,
        socket_options: _Options = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection to one of the host's addresses."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        failure: Exception = OSError("it has no address")
        for address in dict.fromkeys(str(each[4][0]) for each in found):
            check_address(self._source, address)
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Wait, between attempts of httpcore."""
        await asyncio.sleep(seconds)
