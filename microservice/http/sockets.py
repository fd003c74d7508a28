"""Runs the handlers of WebSockets, as an ASGI application."""

import asyncio
import logging
from collections.abc import Sequence

from microservice.errors import HangupError, HttpError
from microservice.handling import ServiceCounters
from microservice.http.scopes import headers_of, levels_of, query_of
from microservice.triggers.registry import SocketRoute
from microservice.web import Receive, Scope, Send, WebSocket

logger = logging.getLogger(__name__)

READ_AHEAD = 16  # messages; then the client waits
END_S = 5.0  # for a handler to end by itself when its client is gone


class SocketApp:
    """Finds the handler of a WebSocket, and ends it when the client has gone."""

    def __init__(self, routes: Sequence[SocketRoute], counters: ServiceCounters) -> None:
        self._routes, self._counters = tuple(routes), counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket until its handler returns or its client goes."""
        await receive()  # websocket.connect
        events: asyncio.Queue[dict[str, object]] = asyncio.Queue(READ_AHEAD)
        route, parts = self._find(levels_of(scope))
        socket = WebSocket(
            scope["path"], parts, query_of(scope), headers_of(scope), (events.get, send)
        )
        if route is None:
            await socket.fail(HttpError(404, f"cannot find WebSocket {scope['path']}"))
            return
        handling = asyncio.ensure_future(self._handle(route, socket))
        reading = asyncio.ensure_future(_read(receive, events))
        try:
            await asyncio.wait({handling, reading}, return_when=asyncio.FIRST_COMPLETED)
            if not handling.done():
                await asyncio.wait({handling}, timeout=END_S)
        finally:
            for task in (handling, reading):
                task.cancel()
            await asyncio.gather(handling, reading, return_exceptions=True)

    def _find(self, levels: list[str]) -> tuple[SocketRoute | None, dict[str, str]]:
        for route in self._routes:
            parts = route.template.match(levels)
            if parts is not None:
                return route, parts
        return None, {}

    async def _handle(self, route: SocketRoute, socket: WebSocket) -> None:
        try:
            await route.handler(socket)
        except HangupError:
            logger.debug("WebSocket %s: the client hung up", socket.path)
        except HttpError as exc:
            await socket.fail(exc)
            return
        except (Exception, SystemExit):  # sys.exit() ends no service
            logger.exception("cannot serve WebSocket %s", socket.path)
            self._counters.failed += 1
            await socket.fail(HttpError(500, "cannot answer: the handler failed"))
            return
        await socket.close()
        self._counters.handled += 1


async def _read(receive: Receive, events: "asyncio.Queue[dict[str, object]]") -> None:
    while True:
        event = await receive()
        await events.put(dict(event))
        if event["type"] == "websocket.disconnect":
            return
