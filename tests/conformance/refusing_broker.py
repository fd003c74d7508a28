"""Configures our broker for Paho's suites: they expect one refusal and one imposed keep-alive.

With a folder as argument it stores what must survive.
"""

import asyncio
import signal
import sys
from pathlib import Path

from broker import AllowAll, Broker, Identity, Limits, Listener
from broker.journal import Journal

FORBIDDEN = "test/nosubscribe"  # the topic that the suites expect to be refused
KEEP_ALIVE_S = 60  # the cases ask for 120 and expect this answer


class RefusesOne(AllowAll):
    """Allows all but one filter."""

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:  # noqa: ARG002
        return topic_filter != FORBIDDEN


async def serve(folder: Path | None) -> None:
    """Serve until SIGTERM."""
    policy, stopped = RefusesOne(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    limits = Limits(keep_alive_s=KEEP_ALIVE_S)
    store = Journal(folder) if folder is not None else None
    async with Broker([Listener(port=0)], policy, policy, limits, store=store) as broker:
        address = broker.addresses[0]
        assert isinstance(address, tuple)
        print(f"broker ready: MQTT {address[0]}:{address[1]};", flush=True)  # noqa: T201
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
