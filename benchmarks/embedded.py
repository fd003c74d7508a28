"""Embeds our broker in ten lines, listening for WebSocket."""

import asyncio
import signal
import sys

from broker import Broker, Listener
from broker.access import EVERYTHING, AccessList, AnonymousSource, Chain


async def serve(port: int) -> None:
    """Run until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    listeners = [Listener(port=port, websocket=True)]
    async with Broker(listeners, Chain([AnonymousSource(network=False)]), AccessList(EVERYTHING)):
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
