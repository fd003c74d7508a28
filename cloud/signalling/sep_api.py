"""Serves SEP URLs: any HTTP request to a node, from any caller. The node authorises callers."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from cloud.errors import ProblemError
from cloud.metrics import Metrics
from cloud.signalling.bounded_wait import BoundedWait
from cloud.signalling.callers import caller_of
from cloud.signalling.headers import RawHeaders, answer_to_caller, headers_to_node
from cloud.signalling.sep import Sep, too_large, unreadable
from cloud.signalling.take_over import TakeOver
from cloud.storage.ports import NodeStore
from protocol.envelope import BODY_LIMIT_BYTES
from protocol.errors import WireError
from protocol.http_body import HttpRequest, HttpResponse
from protocol.ids import NODE_ID
from protocol.records import NodeRecord

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CALLER_DISCONNECTED = 499  # never sent: logs of HTTP servers show it
BODY_TIMEOUT_S = 20.0  # a slower caller holds a connection without use

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such node"},
    413: {"description": "Larger than 256 KiB: ask the node for a BEP"},
    429: {"description": "Too many requests are open to this node, or of this caller"},
    502: {"description": "The connection to the node was lost, or its answer cannot be read"},
    503: {"description": "The node's cluster is not connected"},
    504: {"description": "The node did not answer in time"},
}


def build_router(
    nodes: NodeStore, sep: Sep, bounded_wait: BoundedWait, metrics: Metrics
) -> APIRouter:
    """Return the routes of all SEP URLs."""
    router = APIRouter(tags=["SEP: requests to nodes"])
    take_over = TakeOver(nodes, sep, bounded_wait)

    async def call_node(request: Request, node_id: str) -> Response:
        """Carry the request to the node and its answer back, sealed on the way.

        Method, path, query, body and end-to-end headers pass, Authorization among them; cookies
        do not. Anyone may call: the node decides.
        """
        started, outcome = time.perf_counter(), "error"
        try:
            node = await nodes.node(node_id) if NODE_ID.fullmatch(node_id) else None
            response = await _carry(request, node, take_over, bounded_wait)
            outcome = "left" if response is None else "answered"
        except ProblemError as exc:
            outcome = _OUTCOMES.get(exc.status, "error")
            raise
        finally:
            elapsed_s = time.perf_counter() - started
            metrics.sep_requests.labels(outcome).inc()
            metrics.sep_seconds.observe(elapsed_s)
            logger.debug(
                "SEP %s to node %s: %s in %.1f ms",
                request.method, node_id[:12], outcome, elapsed_s * 1000,
            )  # fmt: skip
        return Response(status_code=CALLER_DISCONNECTED) if response is None else response

    for path, name in (("/sep/{node_id}/{path:path}", ""), ("/sep/{node_id}", "_root")):
        for method in METHODS:
            router.add_api_route(
                path,
                call_node,
                methods=[method],
                operation_id=f"sep{name}_{method.lower()}",
                summary=f"{method} at a node",
                responses=PROBLEMS,
                response_class=Response,
                include_in_schema=not name,
            )
    return router


_OUTCOMES = {
    HTTPStatus.NOT_FOUND: "unknown_node",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "busy",
    HTTPStatus.BAD_GATEWAY: "fault",
    HTTPStatus.SERVICE_UNAVAILABLE: "offline",
    HTTPStatus.GATEWAY_TIMEOUT: "no_answer",
}


class NodeResponse(Response):
    """The answer of a node, with only the headers that the node sent."""

    def __init__(self, body: bytes, status: int, headers: RawHeaders) -> None:
        super().__init__(body, status)
        self.raw_headers = headers


async def _carry(
    request: Request, node: NodeRecord | None, take_over: TakeOver, bounded_wait: BoundedWait
) -> Response | None:
    if node is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "cannot reach node: no node with this id is known")
    peer = request.client.host if request.client else ""
    carried = HttpRequest(
        method=request.method,
        target=_target(request),
        headers=headers_to_node(request.headers.raw, peer, request.url.scheme),
        body=await _read_body(request, bounded_wait),
    )
    answer = await _while_caller_waits(request, take_over.send(node, carried, caller_of(peer)))
    if answer is None:
        return None
    try:
        headers, body = answer_to_caller(answer, request.method)
    except WireError as exc:
        raise unreadable(node.node_id) from exc
    return NodeResponse(body, answer.status, headers)


async def _while_caller_waits(
    request: Request, sending: Coroutine[None, None, HttpResponse]
) -> HttpResponse | None:
    """Return the answer; when the caller disconnects first, cancel the request and return None."""
    answer = asyncio.ensure_future(sending)
    disconnect = asyncio.ensure_future(_until_disconnected(request))
    try:
        await asyncio.wait((answer, disconnect), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        answer.cancel()
        disconnect.cancel()
        await asyncio.gather(answer, disconnect, return_exceptions=True)


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass  # the body has been read


def _target(request: Request) -> str:
    # The raw path, to keep its percent-encoding: "", sep, node id, rest
    parts = request.scope["raw_path"].decode("latin-1").split("/", 3)
    query = request.scope["query_string"].decode("latin-1")
    rest = parts[3] if len(parts) == 4 else ""
    return f"/{rest}?{query}" if query else f"/{rest}"


async def _read_body(request: Request, bounded_wait: BoundedWait) -> bytes:
    body = bytearray()
    late = ProblemError(HTTPStatus.REQUEST_TIMEOUT, "cannot read request: too slow")
    async with bounded_wait.within(BODY_TIMEOUT_S, late):
        async for chunk in request.stream():
            if len(body) + len(chunk) > BODY_LIMIT_BYTES:
                raise too_large()
            body += chunk
    return bytes(body)
