"""Encodes the HTTP answer to a refused visitor: a problem document (RFC 9457)."""

import json
import re
from http import HTTPStatus

_REQUEST_START = re.compile(rb"[A-Z]{1,20} /")


def is_http(data: bytes) -> bool:
    """Return whether first bytes look like those of an HTTP client."""
    return _REQUEST_START.match(data) is not None


def encode_problem(status: int, why: str) -> bytes:
    """Return a whole response, after which the connection ends."""
    phrase = HTTPStatus(status).phrase
    document = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "detail": f"cannot reach BEP: {why}",
    }
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
