"""A gateway, started as it is or with its sidecar served in another way; for measuring only.

`thread`: the sidecar has a thread and an event loop of its own. Its handlers then touch what the
broker's loop owns, which is not safe: this shows what such a gateway would gain, it is not one.
"""

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Awaitable, Callable

from gateway import app
from gateway.__main__ import main
from gateway.sidecar.server import Server

Serve = Callable[[Server, socket.socket], Awaitable[None]]


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


if __name__ == "__main__":
    if sys.argv.pop(1) == "thread":
        app.serve = serve_in_thread  # type: ignore[attr-defined]  # the seam of this experiment
    sys.exit(main())
