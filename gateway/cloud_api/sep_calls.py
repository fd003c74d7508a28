"""Calls other nodes through the cloud (SEP).

A request is held in memory as a whole, because the SEP carries it so; its size is bounded by that.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from gateway.cloud_api.answers import OutgoingCall, open_answer
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
        out = OutgoingCall(call.method, f"/sep/{node_id}{call.target}", call.headers, body or None)
        async with open_answer(self._http, out, "cloud", BODY_LIMIT_BYTES) as answer:
            yield answer
