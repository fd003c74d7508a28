"""Our broker for Paho's suites: everybody may do everything, but subscribe to test/nosubscribe."""

import asyncio
import signal

from broker import AllowAll, Broker, Identity, Listener

FORBIDDEN = "test/nosubscribe"  # the topic the suites expect to be refused


class RefusesOne(AllowAll):
    """Allows all but one filter."""

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:  # noqa: ARG002
        return topic_filter != FORBIDDEN


async def serve() -> None:
    """Serve until SIGTERM."""
    policy, stopped = RefusesOne(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with Broker([Listener(port=0)], policy, policy) as broker:
        address = broker.addresses[0]
        assert isinstance(address, tuple)
        print(f"broker ready: MQTT {address[0]}:{address[1]};", flush=True)  # noqa: T201
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve())
