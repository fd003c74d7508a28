"""Reaches the microservices of other nodes of the cluster and of the account, through the SEP."""

import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from gateway.cloud_api.http_proxy import Proxy
from gateway.errors import UplinkError, UplinkLost
from protocol.envelope import BODY_LIMIT_BYTES
from protocol.errors import WireError
from protocol.http_body import HttpRequest, HttpResponse
from protocol.records import NodeRecord, from_fields

KEPT_S = 10.0  # the list of an account's nodes
TIMEOUT_S = 30.0  # above the 20 s that the cloud waits for a node
CONNECTIONS = 16  # the cloud serves so many requests of one address to a node

AccountNodes = Callable[[], Awaitable[list[dict[str, Any]]]]
Clock = Callable[[], float]


class OtherNodes:
    """The other nodes, and the way to them.

    Args:
        url: of the cloud.
        neighbours: returns the records of the linkLocal cluster.
        account_nodes: asks the cloud for those of the account.
        tls: for https.
        proxy: the HTTP proxy on the way to the cloud.
        clock: counts seconds.
    """

    def __init__(
        self,
        url: str,
        neighbours: Callable[[], list[NodeRecord]],
        account_nodes: AccountNodes,
        tls: ssl.SSLContext | None,
        proxy: Proxy | None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._neighbours, self._account_nodes, self._clock = neighbours, account_nodes, clock
        self._kept: list[NodeRecord] = []
        self._kept_until = float("-inf")
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            verify=tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=TIMEOUT_S,
            proxy=proxy.url.reveal() if proxy else None,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            trust_env=False,  # http_proxy.py reads the environment
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def records(self) -> list[NodeRecord]:
        """Return the nodes of the cluster, then those of the account; each once."""
        near = self._neighbours()
        known = {record.node_id for record in near}
        return near + [each for each in await self._of_account() if each.node_id not in known]

    async def send(self, record: NodeRecord, request: HttpRequest) -> HttpResponse:
        """Return the answer of a node to a request.

        Not the SEP URL in its record is called, which the node itself has written, but the cloud.
        """
        path = f"/sep/{record.node_id}{request.target}"
        try:
            async with self._http.stream(
                request.method, path, headers=list(request.headers), content=request.body or None
            ) as response:
                body = await _read(response)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            why = str(exc) or type(exc).__name__
            raise UplinkLost(f"cannot reach node {record.node_id:.12}: {why}") from exc
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in response.headers.raw
        )
        return HttpResponse(response.status_code, headers, body)

    async def _of_account(self) -> list[NodeRecord]:
        now = self._clock()
        if now >= self._kept_until:
            try:
                found = await self._account_nodes()
            except UplinkError:
                if not self._kept:
                    raise
            else:
                self._kept = _parse(found)
            self._kept_until = now + KEPT_S
        return self._kept


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise UplinkLost(f"cannot read the answer: more than {BODY_LIMIT_BYTES} bytes")
    return bytes(body)


def _parse(found: list[dict[str, Any]]) -> list[NodeRecord]:
    records = []
    for fields in found:
        try:
            records.append(from_fields(fields))
        except (WireError, TypeError):  # of a newer node, which this one cannot call
            continue
    return records
