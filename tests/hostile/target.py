"""Runs the broker under attack, with every kind of listener.

python -m tests.hostile.target FOLDER
"""

import asyncio
import logging
import signal
import ssl
import sys
from pathlib import Path

from broker import AllowAll, Broker, Limits, Listener
from broker.gc_tuning import look_seldom, spare_what_stays

MIB = 1 << 20

# Small, so that a few seconds of attack reach them; the rest are the defaults.
LIMITS = Limits(
    connections=400,
    unauthenticated=250,
    stored_sessions=200,
    incomplete_bytes_total=8 * MIB,
    queued_bytes_total=16 * MIB,
    retained_bytes=8 * MIB,
    retained_messages=50_000,
    output_bytes_total=8 * MIB,
    subscriptions_bytes=16 * MIB,
)
CONNECTION_BYTES = 256 * 1024  # a read that waits, buffers of the transport, a will
PROCESS_BYTES = 16 * MIB  # tasks, the allocator's slack

BOUND_BYTES = (
    LIMITS.incomplete_bytes_total
    + LIMITS.queued_bytes_total
    + LIMITS.retained_bytes
    + LIMITS.output_bytes_total
    + LIMITS.subscriptions_bytes
    + LIMITS.connections * CONNECTION_BYTES
    + PROCESS_BYTES
)


async def main(folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    listeners = [
        Listener(port=0),
        Listener(port=0, tls=context, name="tls"),
        Listener(port=0, websocket=True, name="websocket"),
    ]
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with Broker(listeners, AllowAll(), AllowAll(), LIMITS) as broker:
        look_seldom()  # as `hecate broker` does
        spare_what_stays()
        ports = [address[1] for address in broker.addresses if isinstance(address, tuple)]
        print("ready", *ports, flush=True)  # noqa: T201  # read by who started it
        await stopped.wait()
        print("dropped", dict(broker.counters.dropped), flush=True)  # noqa: T201  # read by who started it
        print("refused", dict(broker.counters.refused), flush=True)  # noqa: T201  # read by who started it


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, filename=Path(sys.argv[1], "log"))
    asyncio.run(main(Path(sys.argv[1])))
