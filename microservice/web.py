"""Defines the requests, responses and WebSockets of handlers."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from microservice.errors import HangupError, HttpError, check_status

BODY_LIMIT_BYTES = 1024 * 1024  # of body() and json(); stream() has no limit
JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"
# RFC 6455, 7.4.1
NORMAL, GONE, MALFORMED, FAILED = 1000, 1006, 1007, 1011
REASON_LIMIT = 30  # characters; a close frame has room for 123 bytes

Body = bytes | AsyncIterator[bytes | str]

Scope = MutableMapping[str, Any]  # of ASGI
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


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
    """An answer: JSON from a dict or list, text from a str, bytes, or a stream of bytes or text.

    Response({"value": 21}), Response("no", status=404), Response(chunks(), headers={…}). A stream
    without a content-length header is sent chunked.
    """

    def __init__(
        self, content: Any = b"", status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = check_status(status)
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
                self.body, kind = json.dumps(content, allow_nan=False).encode(), JSON_TYPE
        if kind and self.body != b"":
            self.headers.setdefault("content-type", kind)


def problem(status: int, detail: str) -> Response:
    """Return a problem document (RFC 9457)."""
    fields = {"type": "about:blank", "status": status, "detail": detail}
    return Response(fields, status, {"content-type": PROBLEM_TYPE})


class WebSocket:
    """One WebSocket; `socket["room"]` is the part of the path that the route names {room}.

    It is accepted by the first receive() or send(). Until then a handler may refuse it by
    `raise HttpError(403, "no such room")`. It is closed when the handler returns.
    """

    def __init__(
        self,
        path: str,
        parts: Mapping[str, str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        ends: tuple[Receive, Send],
    ) -> None:
        self.path, self.parts, self.query, self.headers = path, parts, query, headers
        self._receive, self._send = ends
        self._accepted = False
        self.closed: int | None = None  # the code with which a side has closed it

    def __getitem__(self, name: str) -> str:
        return self.parts[name]

    def __aiter__(self) -> "WebSocket":
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except HangupError:
            raise StopAsyncIteration from None

    async def accept(self, subprotocol: str | None = None) -> None:
        """Accept it now, with one of the subprotocols that the client offers."""
        if not self._accepted:
            self._accepted = True
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def receive(self) -> str | bytes:
        """Return the next message: text or bytes; HangupError when the client has closed it."""
        await self.accept()
        self._check_open()
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            self.closed = event.get("code", NORMAL)
            self._check_open()
        text: str | None = event.get("text")
        data: bytes = event.get("bytes") or b""
        return data if text is None else text

    async def json(self) -> Any:
        """Return the JSON value of the next message; HangupError when it is none, or closed."""
        message = await self.receive()
        try:
            return json.loads(message)
        except (ValueError, RecursionError) as exc:
            await self.close(MALFORMED, "not JSON")
            raise HangupError("cannot read a WebSocket: the message is not JSON") from exc

    async def send(self, value: Any) -> None:
        """Send text or bytes as they are, anything else as JSON; waits for a slow client."""
        await self.accept()
        self._check_open()
        match value:
            case bytes() | bytearray() | memoryview():
                await self._send_message("bytes", bytes(value))
            case str():
                await self._send_message("text", value)
            case _:
                await self._send_message("text", json.dumps(value, allow_nan=False))

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it, unless it is closed."""
        if self.closed is None:
            await self.accept()
            self.closed = code
            with contextlib.suppress(OSError):  # the client was quicker
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def fail(self, error: HttpError) -> None:
        """Answer the handshake with an error; close it, if it is accepted."""
        if self._accepted:
            await self.close(FAILED, error.detail[:REASON_LIMIT])
            return
        self._accepted, self.closed = True, FAILED
        response = problem(error.status, error.detail)
        headers = [(n.encode(), v.encode("latin-1")) for n, v in response.headers.items()]
        start = {"status": response.status, "headers": headers}
        await self._send({"type": "websocket.http.response.start", **start})
        await self._send({"type": "websocket.http.response.body", "body": response.body})

    async def _send_message(self, kind: str, content: str | bytes) -> None:
        try:
            await self._send({"type": "websocket.send", kind: content})
        except OSError as exc:
            self.closed = self.closed or GONE
            raise HangupError("cannot use the WebSocket: the client is gone") from exc

    def _check_open(self) -> None:
        if self.closed is not None:
            raise HangupError(f"cannot use the WebSocket: it is closed (code {self.closed})")
