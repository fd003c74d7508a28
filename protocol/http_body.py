"""Encodes HTTP requests and responses as bodies of envelopes."""

from dataclasses import dataclass, field
from typing import Any

import cbor2

from protocol.envelope import decode_map, take
from protocol.errors import WireError

Headers = tuple[tuple[str, str], ...]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.1
# RFC 9110, 7.6.1: for one connection only; not forwarded
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
     "te", "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request; target is path and query, starting with a slash.

    The answer is sealed with answer_secret, which proves that its sender has read the request.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    answer_secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer."""

    status: int
    headers: Headers = ()
    body: bytes = b""


def encode_request(request: HttpRequest) -> bytes:
    """Return the request as CBOR."""
    fields = {
        "m": request.method,
        "p": request.target,
        "h": request.headers,
        "b": request.body,
        "k": request.answer_secret,
    }
    return cbor2.dumps(fields)


def decode_request(data: bytes) -> HttpRequest:
    """Return the request in CBOR bytes; WireError when it is not one."""
    fields = decode_map(data)
    target = take(fields, "p", str)
    if not target.startswith("/"):
        raise WireError(f"cannot decode request: target {target!r}")
    return HttpRequest(
        method=take(fields, "m", str),
        target=target,
        headers=_headers(fields),
        body=take(fields, "b", bytes),
        answer_secret=take(fields, "k", bytes),
    )


def encode_response(response: HttpResponse) -> bytes:
    """Return the answer as CBOR."""
    return cbor2.dumps({"s": response.status, "h": response.headers, "b": response.body})


def decode_response(data: bytes) -> HttpResponse:
    """Return the answer in CBOR bytes; WireError when it is not one."""
    fields = decode_map(data)
    status = take(fields, "s", int)
    if not 200 <= status <= 599:
        raise WireError(f"cannot decode response: status {status}")
    return HttpResponse(status, _headers(fields), take(fields, "b", bytes))


def end_to_end(headers: Headers) -> Headers:
    """Return the headers that may be forwarded to the other end."""
    return tuple((name, value) for name, value in headers if name.lower() not in HOP_BY_HOP)


def _headers(fields: dict[str, Any]) -> Headers:
    pairs = take(fields, "h", list, tuple)
    for pair in pairs:
        if (
            not isinstance(pair, list | tuple)
            or len(pair) != 2
            or not all(isinstance(text, str) and not set(text) & set("\r\n\0") for text in pair)
        ):
            raise WireError("cannot decode headers: not pairs of text")
    return tuple((name, value) for name, value in pairs)
