"""$SYS topics of the broker in a process, against those of Mosquitto on this machine."""

import asyncio
import subprocess

from broker import AllowAll, Broker, Listener
from tests.conformance.brokers import mosquitto
from tests.peers import require

NOT_OURS = {
    "$SYS/broker/heap/current",
    "$SYS/broker/heap/maximum",
}  # of a build with malloc counted
COMMAND = ["-t", "$SYS/#", "-F", "%r %t", "-W", "2"]


def told(port: int) -> set[str]:
    """Return the topics of which a newcomer is told."""
    command = [require("mosquitto_sub"), "-p", str(port), "-V", "5", *COMMAND]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    lines = done.stdout.splitlines()
    return {line.removeprefix("1 ") for line in lines if line.startswith("1 ")}


def test_every_topic_of_mosquitto_is_there() -> None:
    async def ours() -> set[str]:
        policy = AllowAll()
        async with Broker([Listener(port=0)], policy, policy) as broker:
            said = asyncio.Event()
            broker.local_client("me").subscribe("$SYS/broker/uptime", lambda _: said.set())
            await asyncio.wait_for(said.wait(), 10)
            address = broker.addresses[0]
            assert isinstance(address, tuple)
            return await asyncio.to_thread(told, address[1])

    with mosquitto(require("mosquitto"))() as port:
        theirs = told(port)
    assert len(theirs) > 45
    assert theirs - asyncio.run(ours()) <= NOT_OURS
