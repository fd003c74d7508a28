"""Sends requests of containers, and of other callers of this node, to other nodes.

Over the network of the cluster a request and its answer pass piece by piece. The SEP carries them
as a whole; its size is bounded by that.
"""

from collections.abc import AsyncIterator

from gateway.errors import CallTooLarge, OutcomeUnknown, UplinkError
from gateway.http.calls import CallBody, NodeAnswer, NodeCall
from gateway.services.egress.ports import RemoteNodes
from gateway.services.egress.targets import RequestTarget, TargetKind
from gateway.services.proxy.exchange import UpstreamError
from gateway.services.proxy.headers import CALLER_HEADER, from_upstream
from protocol.http_body import end_to_end
from protocol.records import NodeRecord
from web.asgi import Receive, Scope, Send

_LOCAL_HEADERS = frozenset(
    {"host", "expect", "x-mimik-routing", "x-mimik-port", "x-hecate-proof", CALLER_HEADER.decode(),
     "content-length", "x-hecate-bulk"}
)  # fmt: skip
BULK_HEADER = b"x-hecate-bulk"  # its value does not count
LENGTH_LIMIT = 2**53


async def call_remote(
    nodes: RemoteNodes | None,
    target: RequestTarget,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Answer a request with the answer of another node.

    Raises:
        UpstreamError: no node offers the service, or it does not answer.
    """
    started = False
    try:
        record, prefix = await _find(nodes, target)
        assert nodes is not None  # else nothing is found
        body = CallBody(b"", _pieces(receive), _length(scope))
        is_bulk = any(name == BULK_HEADER for name, _ in scope["headers"])
        path = prefix + target.path
        call = NodeCall(scope["method"], path, _headers(scope), body, is_bulk=is_bulk)
        async with nodes.open(record, call) as answer:
            started = True
            await _pass_on(answer, scope, send)
    except UplinkError as exc:
        if started:  # the only way left is to cut the answer off
            raise ConnectionAbortedError(f"the answer of a node is cut off: {exc}") from exc
        raise _as_problem(exc) from exc


def _as_problem(exc: UplinkError) -> UpstreamError:
    if isinstance(exc, CallTooLarge):
        return UpstreamError(413, str(exc))
    if isinstance(exc, OutcomeUnknown):
        return UpstreamError(502, str(exc), {"Proxy-Status": "hecate; error=connection_terminated"})
    return UpstreamError(503, str(exc), {"Retry-After": "5"})


async def _pass_on(answer: NodeAnswer, scope: Scope, send: Send) -> None:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    status, has_body = answer.status, scope["method"] != "HEAD"
    await send({"type": "http.response.start", "status": status, "headers": from_upstream(raw)})
    if has_body and status not in (204, 304):
        async for piece in answer.body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _find(nodes: RemoteNodes | None, target: RequestTarget) -> tuple[NodeRecord, str]:
    """Return the node of a target, and the path in front of the target's."""
    what = f"service {target.service_type}" if target.service_type else f"node {target.node_id:.12}"
    if nodes is None:
        raise UpstreamError(404, f"cannot find {what}: this gateway knows no other nodes")

    def base(record: NodeRecord) -> str | None:
        """Return the path of the target on a node; None when it is not there."""
        if target.node_id not in ("", record.node_id):
            return None
        if target.kind is TargetKind.NODE:
            return ""
        for service in record.services:
            if service.service_type.lower() == target.service_type:
                return service.path.rstrip("/")
        return None

    if target.kind is TargetKind.NODE:
        record = await nodes.find_node(target.node_id)
    else:
        record = await nodes.find(lambda each: base(each) is not None)
    if record is None:
        raise UpstreamError(404, f"cannot find {what}: no node that this one reaches offers it")
    return record, base(record) or ""


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise UpstreamError(400, "cannot read request: it ended early")
        if piece := event.get("body", b""):
            yield piece
        more = event.get("more_body", False)


def _length(scope: Scope) -> int | None:
    """Return the declared length of a request's body; None when it comes in chunks."""
    found = {name: value for name, value in scope["headers"] if name in _FRAMING}
    if b"transfer-encoding" in found:
        return None
    length = found.get(b"content-length", b"0")
    return int(length) if length.isdigit() and int(length) < LENGTH_LIMIT else None


_FRAMING = (b"content-length", b"transfer-encoding")


def _headers(scope: Scope) -> tuple[tuple[str, str], ...]:
    texts = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"])
    return tuple((n, v) for n, v in end_to_end(texts) if n.lower() not in _LOCAL_HEADERS)
