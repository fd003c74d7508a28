"""Applies a HostPolicy to every request, and answers preflight requests of browsers (CORS)."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from web.browsers.origins import HostDecision, HostPolicy
from web.responses import problem_response

PREFLIGHT_S = 600
_HEADERS = (b"origin", b"sec-fetch-site", b"sec-fetch-mode")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class HostGuard:
    """An ASGI application in front of another one."""

    def __init__(self, app: Any, policy: HostPolicy) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request if its host and its page are allowed."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if not scope["path"].startswith("/"):
            scope = _in_origin_form(scope)
        decision = self._judge(scope)
        if decision.status:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await problem_response(decision.status, decision.detail)(scope, receive, send)
        elif not decision.allowed_origin or scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif (asked := _preflight(scope)) is not None:
            await _answer_preflight(decision.allowed_origin, asked, send)
        else:
            await self._app(scope, receive, _sharing(decision.allowed_origin, send))

    def _judge(self, scope: Message) -> HostDecision:
        hosts, headers = [], {}
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value.decode("latin-1"))
            elif name in _HEADERS:
                headers[name.decode()] = value.decode("latin-1").lower()
        server = scope.get("server")
        return self._policy.judge(hosts, server[0] if server else "", headers)


def _in_origin_form(scope: Message) -> Message:
    """Return a request whose target is a URL as one whose target is a path.

    A server has to take both, and the host of the URL instead of Host (RFC 9112, 3.2.2).
    """
    scheme, _, rest = scope["raw_path"].partition(b"://")
    if scheme.lower() not in (b"http", b"https") or not rest:
        return scope
    authority, _, path = rest.partition(b"/")
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "path": unquote(f"/{path.decode('latin-1')}"),
        "raw_path": b"/" + path,
        "headers": [(b"host", authority), *headers],
    }


def _preflight(scope: Message) -> bytes | None:
    """Return the headers that a preflight asks for; None when the request is none."""
    headers = dict(scope["headers"])
    if scope["method"] != "OPTIONS" or b"access-control-request-method" not in headers:
        return None
    asked: bytes = headers.get(b"access-control-request-headers", b"")
    return asked


async def _answer_preflight(origin: str, asked: bytes, send: Send) -> None:
    headers = [
        *_shared(origin),
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", b"%d" % PREFLIGHT_S),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _sharing(origin: str, send: Send) -> Send:
    async def shared(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                pair for pair in message["headers"] if pair[0] != b"access-control-allow-origin"
            ]
            message = {**message, "headers": [*kept, *_shared(origin)]}
        await send(message)

    return shared


def _shared(origin: str) -> list[tuple[bytes, bytes]]:
    return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]
