"""Defines the requests and responses of handlers."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from microservice.errors import HttpError

BODY_LIMIT_BYTES = 1024 * 1024  # of body() and json(); stream() has no limit
JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"

Body = bytes | AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `request["room"]` is the part of the path that the route names {room}."""

    method: str
    path: str  # below the microservice's base
    parts: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)  # the last of several values
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    source: AsyncIterator[bytes] | None = None

    def __getitem__(self, name: str) -> str:
        return self.parts[name]

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces, as it arrives; only once."""
        if self.source is not None:
            async for chunk in self.source:
                yield chunk

    async def body(self, limit_bytes: int = BODY_LIMIT_BYTES) -> bytes:
        """Return the whole body; a longer one is answered with 413."""
        whole = bytearray()
        async for chunk in self.stream():
            whole += chunk
            if len(whole) > limit_bytes:
                raise HttpError(413, f"cannot read body: more than {limit_bytes} bytes")
        return bytes(whole)

    async def json(self, limit_bytes: int = BODY_LIMIT_BYTES) -> Any:
        """Return the body's JSON value; anything else is answered with 400."""
        try:
            return json.loads(await self.body(limit_bytes))
        except (ValueError, RecursionError) as exc:
            raise HttpError(400, "cannot read body: not JSON") from exc


class Response:
    """An answer: JSON from a dict or list, text from a str, bytes, or a stream of bytes.

    Response({"value": 21}), Response("no", status=404), Response(chunks(), headers={…}). A stream
    without a content-length header is sent chunked.
    """

    def __init__(
        self, content: Any = b"", status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}
        self.body: Body
        match content:
            case bytes() | bytearray() | memoryview():
                self.body, kind = bytes(content), "application/octet-stream"
            case str():
                self.body, kind = content.encode(), "text/plain; charset=utf-8"
            case AsyncIterator():
                self.body, kind = content, "application/octet-stream"
            case None:
                self.body, kind = b"", ""
            case _:
                self.body, kind = json.dumps(content).encode(), JSON_TYPE
        if kind and self.body != b"":
            self.headers.setdefault("content-type", kind)


def problem(status: int, detail: str) -> Response:
    """Return a problem document (RFC 9457)."""
    fields = {"type": "about:blank", "status": status, "detail": detail}
    return Response(fields, status, {"content-type": PROBLEM_TYPE})
