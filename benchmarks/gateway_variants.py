"""Starts a gateway, as it is or with its sidecar served in another way; for measuring only.

`thread`: the sidecar has a thread and an event loop of its own. Its handlers then touch what the
broker's loop owns, which is not safe: this shows what such a gateway would gain, it is not one.
`turns`: requests start one per turn of the loop, so that between two of them MQTT gets its turn.
"""

import asyncio
import contextlib
import socket
import ssl
import sys
import threading
from collections import deque

from gateway import app as gateway_app
from gateway.__main__ import main
from gateway.sidecar.server import Server, make_server
from web.asgi import App, Receive, Scope, Send


async def serve_in_thread(server: Server, listener: socket.socket) -> None:
    """Serve on another loop until cancelled."""
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), name="sidecar"
    )
    thread.start()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.to_thread(thread.join)
        listener.close()


class LoopTurns:
    """An application of which one request starts per turn of the loop."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            loop.call_soon(self._open)
        await turn
        await self._app(scope, receive, send)

    def _open(self) -> None:
        turn = self._waiting.popleft()
        if not turn.done():
            turn.set_result(None)
        if self._waiting:
            turn.get_loop().call_soon(self._open)


def serve_in_turns(app: App, tls: ssl.SSLContext | None = None) -> Server:
    """Return a server whose requests take turns."""
    return make_server(LoopTurns(app), tls)


if __name__ == "__main__":
    match sys.argv.pop(1):
        case "thread":
            gateway_app.serve = serve_in_thread  # type: ignore[attr-defined]  # the seams of
        case "turns":
            gateway_app.make_server = serve_in_turns  # type: ignore[attr-defined]  # this experiment
    sys.exit(main())
