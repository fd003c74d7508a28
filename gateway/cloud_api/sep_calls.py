"""Calls other nodes through the cloud (SEP).

A request is held in memory as a whole, because the SEP carries it so; its size is bounded by that.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from gateway.errors import CallNotSent, UplinkLost
from gateway.http.calls import NodeAnswer, NodeCall
from protocol.envelope import BODY_LIMIT_BYTES

TIMEOUT_S = 30.0  # above the 20 s that the cloud waits for a node
CONNECTIONS = 16  # the cloud serves so many requests of one address to a node


class SepCalls:
    """The way through the cloud.

    Args:
        url: of the cloud.
        transport: leads to the cloud.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport) -> None:
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            transport=transport,
            timeout=TIMEOUT_S,
            trust_env=False,  # http_proxy.py reads the environment
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @asynccontextmanager
    async def open(self, node_id: str, call: NodeCall) -> AsyncIterator[NodeAnswer]:
        """Yield the answer of a node; its body is bounded.

        Not the SEP URL in its record is called, which the node itself has written, but the cloud.

        Raises:
            CallTooLarge: the SEP does not carry it.
            CallNotSent: the cloud cannot be reached.
            UplinkLost: the connection broke.
        """
        body = await call.body.whole(BODY_LIMIT_BYTES)
        try:
            request = self._http.build_request(
                call.method,
                f"/sep/{node_id}{call.target}",
                headers=list(call.headers),
                content=body or None,
            )
            response = await self._http.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL,
                httpx.ProxyError) as exc:  # fmt: skip
            raise CallNotSent(f"cannot reach the cloud: {_reason(exc)}") from exc
        except httpx.HTTPError as exc:
            raise UplinkLost(f"cannot read the answer of the cloud: {_reason(exc)}") from exc
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in response.headers.raw
        )
        try:
            yield NodeAnswer(response.status_code, headers, _pieces(response))
        finally:
            await response.aclose()


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    size = 0
    try:
        async for piece in response.aiter_raw():
            size += len(piece)
            if size > BODY_LIMIT_BYTES:
                raise UplinkLost(f"cannot read the answer: more than {BODY_LIMIT_BYTES} bytes")
            yield piece
    except httpx.HTTPError as exc:
        raise UplinkLost(f"cannot read the answer of the cloud: {_reason(exc)}") from exc


def _reason(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
