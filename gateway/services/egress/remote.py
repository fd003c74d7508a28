"""Sends requests of containers to microservices of other nodes.

A request to another node is held in memory as a whole, because the SEP carries it so; its size is
bounded by the SEP.
"""

from gateway.errors import UplinkError
from gateway.services.egress.ports import RemoteNodes
from gateway.services.egress.targets import RequestTarget, TargetKind
from gateway.services.proxy.exchange import UpstreamError
from gateway.services.proxy.headers import CALLER_HEADER, from_upstream
from protocol.envelope import BODY_LIMIT_BYTES
from protocol.http_body import HttpRequest, end_to_end
from protocol.records import NodeRecord
from web.asgi import Receive, Scope, Send

_LOCAL_HEADERS = frozenset({"host", "expect", "x-mimik-routing", "x-mimik-port"})


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
    try:
        record, prefix = await _find(nodes, target)
        assert nodes is not None  # else nothing is found
        body = await _read_body(receive)
        request = HttpRequest(scope["method"], prefix + target.path, _headers(scope), body)
        response = await nodes.send(record, request)
    except UplinkError as exc:
        raise UpstreamError(503, str(exc), {"Retry-After": "5"}) from exc
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    headers = [pair for pair in from_upstream(raw) if pair[0] != b"content-length"]
    if scope["method"] != "HEAD" and response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def _find(nodes: RemoteNodes | None, target: RequestTarget) -> tuple[NodeRecord, str]:
    """Return the node of a target, and the path in front of the target's."""
    what = f"service {target.service_type}" if target.service_type else f"node {target.node_id:.12}"
    if nodes is None:
        raise UpstreamError(404, f"cannot find {what}: this gateway knows no other nodes")
    for record in await nodes.records():
        if target.node_id not in ("", record.node_id):
            continue
        if target.kind is TargetKind.NODE:
            return record, ""
        for service in record.services:
            if service.service_type.lower() == target.service_type:
                return record, service.path.rstrip("/")
    raise UpstreamError(404, f"cannot find {what}: no node that this one reaches offers it")


async def _read_body(receive: Receive) -> bytes:
    body, more = bytearray(), True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise UpstreamError(400, "cannot read request: it ended early")
        body += event.get("body", b"")
        more = event.get("more_body", False)
        if len(body) > BODY_LIMIT_BYTES:
            raise UpstreamError(
                413,
                f"cannot carry request: more than {BODY_LIMIT_BYTES} bytes; "
                "ask the other service for a BEP (GET <microservice>/bep)",
            )
    return bytes(body)


def _headers(scope: Scope) -> tuple[tuple[str, str], ...]:
    texts = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"])
    dropped = _LOCAL_HEADERS | {CALLER_HEADER.decode(), "content-length"}
    return tuple((n, v) for n, v in end_to_end(texts) if n not in dropped)
