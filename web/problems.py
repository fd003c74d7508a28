"""Encodes problem documents (RFC 9457)."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


def problem_document(status: int, detail: str, **extra: Any) -> dict[str, Any]:
    """Return a problem document; detail reads "cannot X: why"."""
    return {
        "type": "about:blank",  # RFC 9457, 4.2.1: the title is that of the status
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        **extra,
    }


def encode_raw_problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole HTTP response that ends its connection."""
    body = json.dumps(problem_document(status, detail)).encode()
    lines = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        "connection": "close",
        **(headers or {}),
    }
    head = f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode("latin-1") + b"\r\n" + body
