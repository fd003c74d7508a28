"""Sends HTTP requests to the cloud by the way that this node uses now. Does I/O."""

import ssl
from pathlib import Path

import httpx

from gateway.cloud_api.http_proxy import Proxy
from gateway.cloud_api.ways import WayChoice

CONNECT_S = 4.0
PROBE_S = 5.0


def plain_context() -> ssl.SSLContext:
    """Return a context without authorities, which is cheap and sufficient for http://."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class WayTransport(httpx.AsyncBaseTransport):
    """A direct transport, and one through a Unix socket that leads to another node.

    Args:
        ways: says which way this node uses.
        tls: for https.
        proxy: the HTTP proxy on the direct way.
        way_socket: the Unix socket of the other way; None without a cluster.
        connections: at a time, by each way.
    """

    def __init__(
        self,
        ways: WayChoice,
        tls: ssl.SSLContext | None,
        proxy: Proxy | None,
        way_socket: Path | None,
        connections: int = 100,
    ) -> None:
        self._ways, self._tls, self._way_socket = ways, tls or plain_context(), way_socket
        self._limits = httpx.Limits(max_connections=connections)
        self._direct = httpx.AsyncHTTPTransport(
            verify=self._tls,
            proxy=httpx.Proxy(proxy.url.reveal()) if proxy else None,
            limits=self._limits,
        )
        self._through: httpx.AsyncHTTPTransport | None = None  # until it is used

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request by the present way."""
        if not self._ways.via or self._way_socket is None:
            return await self._direct.handle_async_request(request)
        if self._through is None:
            self._through = httpx.AsyncHTTPTransport(
                verify=self._tls, uds=str(self._way_socket), limits=self._limits
            )
        return await self._through.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._direct.aclose()
        if self._through is not None:
            await self._through.aclose()

    async def probe(self, url: str) -> bool:
        """Return whether the cloud answers by the direct way."""
        timeout = httpx.Timeout(PROBE_S, connect=CONNECT_S)
        request = httpx.Request("GET", f"{url.rstrip('/')}/healthz",
                                extensions={"timeout": timeout.as_dict()})  # fmt: skip
        try:
            response = await self._direct.handle_async_request(request)
            await response.aclose()
        except httpx.HTTPError:
            return False
        return response.status_code < 500
