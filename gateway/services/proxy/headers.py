"""Builds the headers of requests and answers that the gateway passes on. Pure."""

import re
import secrets
from collections.abc import Iterable
from urllib.parse import quote

from protocol.http_body import HOP_BY_HOP
from web.asgi import Scope

CALLER_HEADER = b"x-hecate-caller"  # the id of the container that calls; nobody else can set it
REQUEST_ID, TRACE_PARENT = b"x-request-id", b"traceparent"
# headers of answers that end here: those that the gateway's server sets itself (a second Date makes
# an answer malformed: RFC 9110, 5.3) or that are its own (RFC 9209), and those by which the pages
# of one microservice get hold of the others', with which they share an origin
_NOT_PASSED = frozenset({b"date", b"proxy-status", b"service-worker-allowed", b"clear-site-data"})

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(name.encode() for name in HOP_BY_HOP)
_REPLACED = frozenset(
    {b"expect", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-prefix",
     b"x-forwarded-proto", CALLER_HEADER}
)  # fmt: skip
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,128}")


def is_upgrade(scope: Scope) -> bool:
    """Return whether a request asks for a WebSocket (RFC 6455, 4.1)."""
    upgrade, options = b"", set()
    for name, value in scope["headers"]:
        if name.lower() == b"upgrade":
            upgrade = value.strip().lower()
        elif name.lower() == b"connection":
            options |= {option.strip().lower() for option in value.split(b",")}
    return scope["method"] == "GET" and upgrade == b"websocket" and b"upgrade" in options


def to_container(scope: Scope, prefix: str, caller: str = "") -> Headers:
    """Return the headers that a container gets.

    Args:
        scope: of the request.
        prefix: the part of the path that the container does not see.
        caller: the id of the container that calls; "" for all others.
    """
    received = _lowered(scope["headers"])
    host = next((value for name, value in received if name == b"host"), b"localhost")
    headers = _passed(received, _REPLACED)
    if not any(name == b"host" for name, _ in headers):
        headers.append((b"host", host))
    headers += [
        (b"x-forwarded-host", host),
        (b"x-forwarded-proto", scope.get("scheme", "http").encode()),
        (b"x-forwarded-prefix", prefix.encode()),
    ]
    if scope.get("client"):
        headers.append((b"x-forwarded-for", str(scope["client"][0]).encode()))
    if caller:
        headers.append((CALLER_HEADER, caller.encode()))
    return headers


def to_outside(scope: Scope, authority: str) -> Headers:
    """Return the headers that a server outside gets; Host is the target's (RFC 9112, 3.2.2)."""
    passed = _passed(_lowered(scope["headers"]), frozenset({b"host", b"expect", CALLER_HEADER}))
    return [(b"host", authority.encode()), *passed, (b"via", b"1.1 hecate")]


def from_upstream(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers of an answer that the caller gets."""
    received = _lowered(headers)
    named = _connection_options(received)
    return [
        (name, value)
        for name, value in received
        if name not in _HOP_BY_HOP and name not in named and name not in _NOT_PASSED
    ]


def switching_head(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of an answer that begins a WebSocket."""
    lines = [b"HTTP/1.1 101 Switching Protocols", b"connection: upgrade", b"upgrade: websocket"]
    lines += [b"%b: %b" % pair for pair in from_upstream(headers)]
    return b"\r\n".join([*lines, b"", b""])


def with_trace(headers: Headers) -> Headers:
    """Return request headers with a request id and a trace context, new ones where there are none.

    The trace context has the form of W3C Trace Context, 3.2.
    """
    found = dict(headers)
    kept = [(n, v) for n, v in headers if n not in (REQUEST_ID, TRACE_PARENT)]
    request_id, parent = found.get(REQUEST_ID, b""), found.get(TRACE_PARENT, b"")
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = secrets.token_hex(8).encode()
    if not _TRACE_PARENT.fullmatch(parent):
        parent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00".encode()
    return [*kept, (REQUEST_ID, request_id), (TRACE_PARENT, parent)]


def target_below(scope: Scope, prefix: str) -> bytes:
    """Return the request target below a prefix of the path, with the query."""
    raw: bytes = scope.get("raw_path") or b""
    start = prefix.encode()
    if raw.startswith(start) and raw[len(start) : len(start) + 1] in (b"", b"/"):
        rest = raw[len(start) :]
    else:  # the prefix itself came percent-encoded
        rest = quote(scope["path"][len(prefix) :]).encode()
    query: bytes = scope.get("query_string", b"")
    return (rest or b"/") + (b"?" + query if query else b"")


def _lowered(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name.lower(), value) for name, value in headers]


def _connection_options(headers: Headers) -> frozenset[bytes]:
    """Return the headers that Connection names: they are for one connection, too."""
    return frozenset(
        option.strip().lower()
        for name, value in headers
        if name == b"connection"
        for option in value.split(b",")
    )


def _passed(received: Headers, without: frozenset[bytes]) -> Headers:
    """Return the end-to-end headers, framed anew: chunked has precedence over a length."""
    chunked = any(name == b"transfer-encoding" for name, _ in received)
    named = _connection_options(received) - {b"content-length", b"host", b"authorization"}
    headers = [
        (name, value)
        for name, value in received
        if name not in _HOP_BY_HOP
        and name not in without
        and name not in named
        and not (chunked and name == b"content-length")
    ]
    if chunked:
        headers.append((b"transfer-encoding", b"chunked"))
    return headers
