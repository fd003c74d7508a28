"""Reads request bodies with a bound."""

from collections.abc import AsyncGenerator
from http import HTTPStatus

from starlette.requests import Request

from gateway.http.problems import Problem

LIMIT_BYTES = 64 * 1024


async def read_body(request: Request) -> bytes:
    """Return the body; Problem 413 when it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LIMIT_BYTES:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"cannot read request: more than {LIMIT_BYTES} bytes",
            )
    return bytes(body)


async def stream_body(request: Request, limit_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the parts of a body; Problem 413 when they are too large together."""
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limit_bytes:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"cannot read body: over {limit_bytes} bytes"
            )
        yield chunk
