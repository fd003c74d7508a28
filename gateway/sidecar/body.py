"""Request bodies with a bound.

FastAPI would read a body as a whole, and before it asks who is calling.
"""

from http import HTTPStatus

from fastapi import Request

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
