"""Sends requests of containers, and of other callers of this node, to other nodes.

A request by a service's type goes to the nearest node that offers it. When that node cannot be
reached, or has the service no more, it goes to the next one, unless it may have been carried out.

Over the network of the cluster a request and its answer pass piece by piece. The SEP carries them
as a whole; its size is bounded by that.
"""

from collections.abc import AsyncIterator, Collection

from gateway.errors import CallTooLarge, OutcomeUnknown, UplinkError
from gateway.http.calls import CallBody, NodeAnswer, NodeCall
from gateway.http.problems import ABSENT, STARTING
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
REPEATABLE_BYTES = 64 * 1024  # of a body that is kept, so that another node can get it
STARTING_STATUS = 503
_ABSENCES = {(404, ABSENT["Proxy-Status"]), (STARTING_STATUS, STARTING["Proxy-Status"])}
TRIES = 3  # nodes, when the first ones cannot be reached or have the service no more


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
    body = CallBody(b"", _pieces(receive), _length(scope))
    if body.length is not None and body.length <= REPEATABLE_BYTES:
        await body.whole(REPEATABLE_BYTES)
    tried: set[str] = set()
    fault: UplinkError | None = None
    is_starting = False
    while nodes is not None:
        try:
            found = await _find(nodes, target, tried)
        except UplinkError as exc:
            raise _as_problem(fault or exc) from exc
        if found is None:
            break
        if body.is_gone:
            why = "cannot send request again: its body is gone, and the service has moved"
            raise UpstreamError(503, why, {"Retry-After": "1"})
        record, prefix = found
        call = _make_call(scope, prefix + target.path, body)
        is_last = target.kind is TargetKind.NODE or len(tried) + 1 >= TRIES
        try:
            absent = await _serve(nodes, record, call, (scope, send), is_last=is_last)
            if not absent:
                return
            fault, is_starting = None, is_starting or absent == STARTING_STATUS
        except UplinkError as exc:
            fault = exc
            if is_last or body.is_gone or isinstance(exc, OutcomeUnknown | CallTooLarge):
                break
        tried.add(record.node_id)
    if fault is not None:
        raise _as_problem(fault) from fault
    raise _absence(target, knows_others=nodes is not None, is_starting=is_starting)


async def _serve(
    nodes: RemoteNodes,
    record: NodeRecord,
    call: NodeCall,
    client: tuple[Scope, Send],
    *,
    is_last: bool,
) -> int:
    """Answer a request with the answer of a node, and return 0.

    When another node may have an answer, it returns the status of this one's.

    Raises:
        UplinkError: there is no answer.
    """
    started = False
    try:
        async with nodes.open(record, call) as answer:
            if not is_last and _is_absent(answer):
                return answer.status
            started = True
            await _pass_on(answer, *client)
    except UplinkError as exc:
        if started:  # the only way left is to cut the answer off
            raise ConnectionAbortedError(f"the answer of a node is cut off: {exc}") from exc
        raise
    return 0


def _make_call(scope: Scope, path: str, body: CallBody) -> NodeCall:
    is_bulk = any(name == BULK_HEADER for name, _ in scope["headers"])
    return NodeCall(scope["method"], path, _headers(scope), body, is_bulk=is_bulk)


def _is_absent(answer: NodeAnswer) -> bool:
    """Return whether the gateway of a node answers that it has no such service (now)."""
    told = next((value for name, value in answer.headers if name.lower() == "proxy-status"), "")
    return (answer.status, told) in _ABSENCES


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


async def _find(
    nodes: RemoteNodes, target: RequestTarget, tried: Collection[str]
) -> tuple[NodeRecord, str] | None:
    """Return a node of a target that was not tried, and the path in front of the target's."""

    def base(record: NodeRecord) -> str | None:
        """Return the path of the target on a node; None when it is not there."""
        if target.node_id not in ("", record.node_id) or record.node_id in tried:
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
    return None if record is None else (record, base(record) or "")


def _absence(target: RequestTarget, *, knows_others: bool, is_starting: bool) -> UpstreamError:
    what = f"service {target.service_type}" if target.service_type else f"node {target.node_id:.12}"
    if is_starting:
        why = f"cannot reach {what} yet: its node starts; try again"
        return UpstreamError(STARTING_STATUS, why, {"Retry-After": "1"})
    if knows_others:
        return UpstreamError(404, f"cannot find {what}: no node that this one reaches offers it")
    return UpstreamError(404, f"cannot find {what}: this gateway knows no other nodes")


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
