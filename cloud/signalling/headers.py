"""Filters the HTTP headers that pass between a caller and a node.

These headers do not pass, besides hop-by-hop headers:
- Host: the cloud's, meaningless to the node.
- Cookie and Set-Cookie: all nodes share the cloud's host name, so a browser would send the
  cookies that one node set to every other.
- Service-Worker-Allowed: a page of one node must not take over the requests for others.
- Forwarded and X-Forwarded-*: a caller's claims about itself cannot be trusted. The node gets
  X-Forwarded-For (the address the cloud saw) and X-Forwarded-Proto instead.
- Expect: the cloud has answered it when it read the body.
"""

import re
from collections.abc import Iterable

from protocol.errors import WireError
from protocol.http_body import Headers, HttpResponse, end_to_end

RawHeaders = list[tuple[bytes, bytes]]

_NOT_TO_NODE = frozenset({"host", "cookie", "forwarded", "expect"})
_NOT_TO_CALLER = frozenset({"set-cookie", "service-worker-allowed", "content-length", "date"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: token
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5: field-value
_BODILESS = (204, 304)  # RFC 9110, 15.3.5 and 15.4.5


def headers_to_node(raw: Iterable[tuple[bytes, bytes]], peer: str, scheme: str) -> Headers:
    """Return the headers of a caller's request that the node gets."""
    headers = tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw
    )
    passed = tuple(
        (name, value)
        for name, value in _without_connection_named(headers)
        if name not in _NOT_TO_NODE and not name.startswith("x-forwarded-")
    )
    return (*passed, ("x-forwarded-for", peer), ("x-forwarded-proto", scheme))


def answer_to_caller(response: HttpResponse, method: str) -> tuple[RawHeaders, bytes]:
    """Return the headers and body of a node's answer that the caller gets.

    Raises:
        WireError: the node's headers are not HTTP.
    """
    passed = [
        (_encode(name, _NAME).lower(), _encode(value, _VALUE))
        for name, value in _without_connection_named(response.headers)
        if name.lower() not in _NOT_TO_CALLER
    ]
    if response.status in _BODILESS:
        return passed, b""
    body = b"" if method == "HEAD" else response.body
    length = _length_of_head(response) if method == "HEAD" else str(len(body))
    if length:
        passed.append((b"content-length", length.encode()))
    return passed, body


def _without_connection_named(headers: Headers) -> Headers:
    # RFC 9110, 7.6.1: headers that Connection names are meant for one connection too
    named = {
        word.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for word in value.split(",")
    }
    return tuple((n, v) for n, v in end_to_end(headers) if n.lower() not in named)


def _encode(text: str, allowed: re.Pattern[str]) -> bytes:
    if not allowed.fullmatch(text):
        raise WireError("cannot pass on answer: a header is not HTTP")
    return text.encode("latin-1")


def _length_of_head(response: HttpResponse) -> str:
    for name, value in response.headers:
        if name.lower() == "content-length" and value.isascii() and value.isdigit():
            return value
    return ""
