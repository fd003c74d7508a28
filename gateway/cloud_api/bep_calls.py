"""Calls microservices of other nodes through tunnels of their own (BEP), for bodies of any size.

The other node opens the tunnel at a request over the SEP, for a code that only members of the
account can make (docs/protocol.md, "Codes for a BEP"). It returns the same tunnel for the same
code, so this end keeps none: a code is the same for an hour.

The other node names the URL of the tunnel. It must be at the cloud's host or at one beside it, so
that a node of the account cannot make this one send requests to other machines of its network.
"""

import ipaddress
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from gateway.cloud_api.answers import OutgoingCall, open_answer
from gateway.cloud_api.http_proxy import Proxy
from gateway.cloud_api.sep_calls import SepCalls
from gateway.errors import CallNotSent
from gateway.http.calls import NodeAnswer, NodeCall
from protocol.codes import REQUEST_BEP, make_code

CODE_S = 3600  # codes end at full hours, so that an hour has one
CONNECT_S = 10.0
STALL_S = 60.0  # without a byte, either way
CONNECTIONS = 16
ANSWER_LIMIT_BYTES = 64 * 1024

AccountNodes = Callable[[], Awaitable[list[dict[str, Any]]]]


class BepCalls:
    """The way through a tunnel.

    Args:
        url: of the cloud.
        http: authorities for https, and the HTTP proxy on the way.
        sep: asks the other node for the tunnel.
        account_nodes: the records of the account's nodes.
        account_key: b"" for a node in no account.
        clock: the cloud's time.
    """

    def __init__(
        self,
        url: str,
        http: tuple[ssl.SSLContext | None, Proxy | None],
        sep: SepCalls,
        account_nodes: AccountNodes,
        account_key: Callable[[], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        tls, proxy = http
        self._cloud, self._sep = urlsplit(url), sep
        self._nodes, self._key, self._clock = account_nodes, account_key, clock
        self._http = httpx.AsyncClient(
            verify=tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=httpx.Timeout(STALL_S, connect=CONNECT_S),
            proxy=proxy.url.reveal() if proxy else None,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            trust_env=False,  # http_proxy.py reads the environment
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @asynccontextmanager
    async def open(self, node_id: str, call: NodeCall) -> AsyncIterator[NodeAnswer]:
        """Yield the answer of a microservice of a node.

        Raises:
            CallNotSent: there is no tunnel, or it cannot be reached.
            UplinkLost: the connection broke.
        """
        href = await self._request_tunnel(node_id, call.target)
        out = OutgoingCall(call.method, href + call.target, _framed(call), _body(call))
        async with open_answer(self._http, out, "BEP") as answer:
            yield answer

    async def _request_tunnel(self, node_id: str, target: str) -> str:
        """Return the URL of a tunnel to the microservice of a path."""
        base, key = await self._find_base(node_id, target), self._key()
        if not base or not key:
            why = "that is no path of a microservice" if key else "this node is in no account"
            raise CallNotSent(f"no BEP to node {node_id:.12}: {why}")
        expires = (int(self._clock()) // CODE_S + 2) * CODE_S
        code = make_code(key, expires, node_id, REQUEST_BEP)
        async with self._sep.open(node_id, NodeCall("GET", f"{base}/bep?hmac={code}")) as answer:
            got = await answer.whole(ANSWER_LIMIT_BYTES)
        try:
            fields = json.loads(got.body)
        except ValueError:
            fields = None
        if got.status != httpx.codes.OK or not isinstance(fields, Mapping):
            why = str(fields.get("detail", "")) if isinstance(fields, Mapping) else ""
            raise CallNotSent(f"no BEP to node {node_id:.12}: {why or f'HTTP {got.status}'}")
        return self._check(str(fields.get("href", "")))

    async def _find_base(self, node_id: str, target: str) -> str:
        """Return the path of the microservice that a path is below; "" for none."""
        path = target.partition("?")[0]
        bases = [
            str(service.get("self", "")).rstrip("/")
            for record in await self._nodes()
            if record.get("id") == node_id
            for service in record.get("services") or ()
        ]
        found = [base for base in bases if base and (path + "/").startswith(base + "/")]
        return max(found, key=len, default="")

    def _check(self, href: str) -> str:
        parts = urlsplit(href)
        host, cloud = parts.hostname or "", self._cloud.hostname or ""
        if parts.scheme != "https" and (parts.scheme != "http" or self._cloud.scheme == "https"):
            raise CallNotSent("no BEP: the node names a URL that is not encrypted")
        if "@" in parts.netloc or not is_beside(host, cloud):
            raise CallNotSent(f"no BEP: the node names {host:.80}, which is not beside the cloud")
        return href.rstrip("/")


def is_beside(host: str, cloud: str) -> bool:
    """Return whether a host is that of the cloud, or has the same domain above it."""
    if host == cloud:
        return bool(host)
    if _is_address(host) or _is_address(cloud):
        return False
    above, above_cloud = (name.partition(".")[2] for name in (host, cloud))
    return "." in above and above in (above_cloud, cloud)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _framed(call: NodeCall) -> list[tuple[str, str]]:
    length = call.body.length
    if length is None or (length == 0 and call.is_safe):
        return list(call.headers)
    return [*call.headers, ("content-length", str(length))]


def _body(call: NodeCall) -> AsyncIterator[bytes] | None:
    return None if call.body.length == 0 else call.body.pieces()
