"""Serves JSON-RPC over WebSocket (RFC 6455): a text message for each request, or batch, and answer.

The requests of one socket are answered one after the other, so a client that does not read its
answers stops only itself.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.http.body import LIMIT_BYTES
from gateway.http.problems import Problem
from gateway.http.routes import ApiRoute, make_route
from gateway.services.proxy.headers import is_upgrade
from gateway.sidecar.jsonrpc import CallerOf, JsonRpc, identify
from web.asgi import Receive, Scope, Send
from web.server.takeover import TakenConnection, take_over_of

if TYPE_CHECKING:  # few clients use it
    from websockets.server import ServerProtocol

PATH = "/ws/edge-service-api/v1"
SOCKETS = 32  # at once
IDLE_S = 300.0  # without a byte; clients send pings every 20 to 60 s

_QUIET = logging.getLogger(f"{__name__}.frames")  # logs every connection at INFO
_QUIET.setLevel(logging.WARNING)

Answer = Callable[[bytes], Awaitable[Any]]


class RpcSockets:
    """The sockets that are open."""

    def __init__(self, rpc: JsonRpc) -> None:
        self._rpc = rpc
        self._open = 0

    def begin(self, scope: Scope, caller_of: CallerOf) -> Response:
        """Return the answer to an upgrade; Problem when the request is none, or too many are open.

        The answer takes the connection over.
        """
        if not is_upgrade(scope) or take_over_of(scope) is None:
            raise Problem(
                HTTPStatus.UPGRADE_REQUIRED,
                "cannot answer: this path speaks WebSocket; POST /jsonrpc/v1 speaks HTTP",
                {"Upgrade": "websocket"},
            )
        if self._open >= SOCKETS:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"cannot open WebSocket: {SOCKETS} are open already",
                {"Retry-After": "5"},
            )
        return _Upgrade(self, lambda body: self._rpc.answer(body, caller_of))

    async def serve(self, scope: Scope, answer: Answer) -> None:
        """Take the connection over, and answer until it ends."""
        take_over = take_over_of(scope)
        assert take_over is not None  # begin() has looked
        protocol = _greet(scope)
        connection = take_over(b"".join(protocol.data_to_send()))
        self._open += 1
        try:
            await _converse(protocol, connection, answer)
        except (OSError, TimeoutError):
            connection.abort()
        finally:
            self._open -= 1
            connection.close()


class _Upgrade(Response):
    """An answer that is not HTTP any more."""

    def __init__(self, sockets: RpcSockets, answer: Answer) -> None:
        super().__init__(status_code=HTTPStatus.SWITCHING_PROTOCOLS)
        self._sockets, self._answer = sockets, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the socket; the server sends no other answer."""
        del receive, send
        await self._sockets.serve(scope, self._answer)


def _greet(scope: Scope) -> "ServerProtocol":
    """Return the protocol after its handshake, which may be a refusal."""
    from websockets.http11 import Request as Handshake
    from websockets.server import ServerProtocol

    protocol = ServerProtocol(max_size=LIMIT_BYTES, logger=_QUIET)
    head = [b"%b: %b" % pair for pair in scope["headers"]]
    protocol.receive_data(b"\r\n".join([f"GET {PATH} HTTP/1.1".encode(), *head, b"", b""]))
    events = protocol.events_received()
    if events and isinstance(events[0], Handshake):
        protocol.send_response(protocol.accept(events[0]))
    return protocol


async def _converse(
    protocol: "ServerProtocol", connection: TakenConnection, answer: Answer
) -> None:
    from websockets.protocol import State

    begun = bytearray()  # a message that is not whole
    while protocol.state is State.OPEN:
        async with asyncio.timeout(IDLE_S):
            data = await connection.read()
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        for body in _messages(protocol, begun):
            text = json.dumps(await answer(body))
            if protocol.state is State.OPEN:
                protocol.send_text(text.encode())
        for chunk in protocol.data_to_send():
            if chunk:
                await connection.write(chunk)


def _messages(protocol: "ServerProtocol", begun: bytearray) -> list[bytes]:
    """Return the messages that are whole; keep in `begun` one that is not."""
    from websockets.frames import CloseCode, Frame, Opcode

    found = []
    for event in protocol.events_received():
        if not isinstance(event, Frame):
            continue
        if event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            continue  # pings are answered by the package
        begun += event.data
        if len(begun) > LIMIT_BYTES:
            protocol.fail(CloseCode.MESSAGE_TOO_BIG, "the message is too large")
            return []
        if event.fin:
            found.append(bytes(begun))
            begun.clear()
    return found


def jsonrpc_socket_routes(guard: Guard, rpc: JsonRpc) -> list[ApiRoute]:
    """Return the route of JSON-RPC over WebSocket; OpenAPI has no words for it."""
    sockets = RpcSockets(rpc)

    async def open_socket(request: Request, caller: SidecarCaller) -> Response:
        return sockets.begin(request.scope, identify(guard, request.scope, caller))

    return [make_route(f"GET {PATH}", guard.container_or_caller, open_socket, None)]
