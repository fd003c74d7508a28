"""SEP URLs: any HTTP request to a node, from anyone. The node decides what it answers to whom."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from cloud.errors import ProblemError
from cloud.parts import Parts, PartsOf
from cloud.signalling.callers import caller_of
from cloud.signalling.headers import answer_to_caller, headers_to_node
from cloud.signalling.patience import Patience
from cloud.signalling.sep import too_large, unreadable
from protocol.envelope import BODY_LIMIT_BYTES
from protocol.errors import WireError
from protocol.http_body import HttpRequest, HttpResponse
from protocol.ids import NODE_ID

logger = logging.getLogger(__name__)

router = APIRouter(tags=["SEP: requests to nodes"])

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CALLER_LEFT = 499  # never sent: what logs of HTTP servers show for it
BODY_TIMEOUT_S = 20.0  # a caller that sends more slowly holds a connection for nothing

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such node"},
    413: {"description": "Larger than 256 KiB: ask the node for a BEP"},
    429: {"description": "Too many requests are open to this node, or of this caller"},
    502: {"description": "The connection to the node was lost, or its answer cannot be read"},
    503: {"description": "The node's cluster is not connected"},
    504: {"description": "The node did not answer in time"},
}


async def call_node(request: Request, parts: PartsOf, node_id: str) -> Response:
    """Carry the request to the node and its answer back, sealed on the way.

    Method, path, query, body and end-to-end headers pass, Authorization among them; cookies
    do not. Anyone may call: the node decides.
    """
    started, outcome = time.perf_counter(), "error"
    try:
        response = await _carry(request, parts, node_id)
        outcome = "left" if response is None else "answered"
    except ProblemError as exc:
        outcome = _OUTCOMES.get(exc.status, "error")
        raise
    finally:
        elapsed_s = time.perf_counter() - started
        parts.metrics.sep_requests.labels(outcome).inc()
        parts.metrics.sep_seconds.observe(elapsed_s)
        logger.debug(
            "SEP %s to node %s: %s in %.1f ms",
            request.method, node_id[:12], outcome, elapsed_s * 1000,
        )  # fmt: skip
    return Response(status_code=CALLER_LEFT) if response is None else response


for _path, _name in (("/sep/{node_id}/{path:path}", ""), ("/sep/{node_id}", "_root")):
    for _method in METHODS:
        router.add_api_route(
            _path,
            call_node,
            methods=[_method],
            operation_id=f"sep{_name}_{_method.lower()}",
            summary=f"{_method} at a node",
            responses=PROBLEMS,
            response_class=Response,
            include_in_schema=not _name,
        )

_OUTCOMES = {
    HTTPStatus.NOT_FOUND: "unknown_node",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "busy",
    HTTPStatus.BAD_GATEWAY: "fault",
    HTTPStatus.SERVICE_UNAVAILABLE: "offline",
    HTTPStatus.GATEWAY_TIMEOUT: "no_answer",
}


async def _carry(request: Request, parts: Parts, node_id: str) -> Response | None:
    node = parts.store.node(node_id) if NODE_ID.fullmatch(node_id) else None
    if node is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "cannot reach node: no node with this id is known")
    peer = request.client.host if request.client else ""
    carried = HttpRequest(
        method=request.method,
        target=_target(request),
        headers=headers_to_node(request.headers.raw, peer, request.url.scheme),
        body=await _read_body(request, parts.patience),
    )
    answer = await _while_caller_waits(request, parts.sep.send(node, carried, caller_of(peer)))
    if answer is None:
        return None
    try:
        headers, body = answer_to_caller(answer, request.method)
    except WireError as exc:
        raise unreadable(node_id) from exc
    response = Response(body, answer.status)
    response.raw_headers = headers
    return response


async def _while_caller_waits(
    request: Request, sending: Coroutine[None, None, HttpResponse]
) -> HttpResponse | None:
    """Return the answer; None, and end the request, when the caller hangs up before."""
    answer = asyncio.ensure_future(sending)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        answer.cancel()
        gone.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass  # the body has been read


def _target(request: Request) -> str:
    # The raw path: what is percent-encoded must arrive percent-encoded. "", sep, node id, rest
    parts = request.scope["raw_path"].decode("latin-1").split("/", 3)
    query = request.scope["query_string"].decode("latin-1")
    rest = parts[3] if len(parts) == 4 else ""
    return f"/{rest}?{query}" if query else f"/{rest}"


async def _read_body(request: Request, patience: Patience) -> bytes:
    body = bytearray()
    late = ProblemError(HTTPStatus.REQUEST_TIMEOUT, "cannot read request: too slow")
    async with patience.within(BODY_TIMEOUT_S, late):
        async for chunk in request.stream():
            if len(body) + len(chunk) > BODY_LIMIT_BYTES:
                raise too_large()
            body += chunk
    return bytes(body)
