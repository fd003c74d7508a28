"""Calls the ASGI application of a service within the process, over HTTP or a WebSocket."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from microservice.errors import HangupError
from microservice.message import encode_payload
from microservice.web import JSON_TYPE, Scope

Application = Callable[[Any, Any, Any], Awaitable[None]]  # of ASGI


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The whole answer to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the JSON value of the body."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class AppClient:
    """Sends requests to an application."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def call(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Return the answer to a request; its body is bytes, text, or anything else as JSON."""
        body = b"" if value is None else encode_payload(value)
        given = {name.lower(): text for name, text in (headers or {}).items()}
        if value is not None:
            given.setdefault("content-length", str(len(body)))
        if value is not None and not isinstance(value, str | bytes | bytearray | memoryview):
            given.setdefault("content-type", JSON_TYPE)
        events: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            if events:
                return events.pop(0)
            await asyncio.get_running_loop().create_future()  # the client waits for its answer
            return None

        async def send(event: Any) -> None:
            sent.append(event)

        await self._app(_scope("http", method, path, given), receive, send)
        start = sent[0]
        return HttpAnswer(
            start["status"],
            {name.decode(): text.decode("latin-1") for name, text in start["headers"]},
            b"".join(event.get("body", b"") for event in sent[1:]),
        )

    def websocket(self, path: str, headers: Mapping[str, str]) -> "SocketClient":
        """Return a WebSocket that opens when it is entered."""
        return SocketClient(self._app, _scope("websocket", "GET", path, dict(headers)))


class SocketClient:
    """The client's side of one WebSocket."""

    def __init__(self, app: Application, scope: Scope) -> None:
        self._app, self._scope = app, scope
        self._to_app: asyncio.Queue[Any] = asyncio.Queue()
        self._from_app: asyncio.Queue[Any] = asyncio.Queue()
        self._serving: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        await self._to_app.put({"type": "websocket.connect"})
        serving = self._app(self._scope, self._to_app.get, self._from_app.put)
        self._serving = asyncio.ensure_future(serving)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._to_app.put({"type": "websocket.disconnect", "code": 1000})
        if self._serving is not None:
            await self._serving

    async def send(self, value: Any) -> None:
        """Send text or bytes as they are, anything else as JSON."""
        kind = "bytes" if isinstance(value, bytes | bytearray) else "text"
        content = value if isinstance(value, str | bytes | bytearray) else json.dumps(value)
        await self._to_app.put({"type": "websocket.receive", kind: content})

    async def receive(self) -> str | bytes:
        """Return the next message; HangupError with the reason when the service closed it."""
        while True:
            event = await self._from_app.get()
            match event["type"]:
                case "websocket.send":
                    found: str | None = event.get("text")
                    data: bytes = event.get("bytes") or b""
                    return data if found is None else found
                case "websocket.close":
                    code, reason = (
                        event.get("code", 1000),
                        event.get("reason", ""),
                    )  # as ASGI has it
                    raise HangupError(f"closed with code {code}: {reason}")
                case "websocket.http.response.start":
                    raise HangupError(f"refused with status {event['status']}")

    async def json(self) -> Any:
        """Return the JSON value of the next message."""
        return json.loads(await self.receive())


def _scope(kind: str, method: str, path: str, headers: dict[str, str]) -> Scope:
    plain, _, query = path.partition("?")
    return {
        "type": kind,
        "method": method,
        "path": plain,
        "raw_path": quote(plain, safe="/%:@!$&'()*+,;=~-._").encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), text.encode("latin-1")) for name, text in headers.items()],
    }
