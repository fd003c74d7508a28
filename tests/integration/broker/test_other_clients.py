"""Clients that others wrote in other ways: Mosquitto's programs and amqtt."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from amqtt.client import MQTTClient

from tests.integration.broker.conftest import BrokerThread
from tests.paho_client import V5, Paho
from tests.peers import require
from tests.programs import PATIENCE, until

WAIT_S = 20 * PATIENCE


@pytest.mark.parametrize("version", ["311", "5"])
def test_mosquitto_sub_and_pub(broker: BrokerThread, version: str) -> None:
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-V", version, "-q", "1"]
    sub = subprocess.Popen(
        [require("mosquitto_sub"), *where, "-t", "a/#", "-C", "3", "-F", "%t %q %r %p"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: broker.broker.counters.subscriptions == 1)
        pub = [require("mosquitto_pub"), *where, "-t"]
        for topic, text in (("a/1", "one"), ("a", "two"), ("b", "not"), ("a/b/c", "three")):
            subprocess.run([*pub, topic, "-m", text], check=True, timeout=WAIT_S)
        out, _ = sub.communicate(timeout=WAIT_S)
    finally:
        sub.kill()
        sub.wait()
    assert out.splitlines() == ["a/1 1 0 one", "a 1 0 two", "a/b/c 1 0 three"]


def test_mosquitto_pub_a_file_of_lines_and_a_killed_client(
    broker: BrokerThread, tmp_path: Path
) -> None:
    with Paho("w", V5) as watcher:
        watcher.connect("127.0.0.1", broker.port)
        watcher.subscribe("#", 1)
        where = ["-h", "127.0.0.1", "-p", str(broker.port), "-q", "1"]
        lines = tmp_path / "lines"
        lines.write_text("".join(f"{number}\n" for number in range(200)))
        with lines.open() as stdin:
            subprocess.run(
                [require("mosquitto_pub"), *where, "-t", "t", "-l"],
                stdin=stdin,
                check=True,
                timeout=WAIT_S,
            )
        assert [int(watcher.take().payload) for _ in range(200)] == list(range(200))
        will = ["--will-topic", "dead", "--will-payload", "x"]
        sub = subprocess.Popen([require("mosquitto_sub"), *where, "-t", "none", *will])
        until(lambda: broker.broker.counters.subscriptions == 2)
        sub.kill()
        sub.wait()
        assert watcher.take().topic == "dead"


def test_amqtt_client(broker: BrokerThread) -> None:
    async def run() -> list[bytes]:
        client = MQTTClient(client_id="amqtt", config={"auto_reconnect": False})
        await client.connect(f"mqtt://127.0.0.1:{broker.port}/")
        await client.subscribe([("a/+", 1)])
        for number in range(5):
            await client.publish("a/b", b"%d" % number, qos=1)
        got = []
        for _ in range(5):
            message = await client.deliver_message(timeout_duration=10)
            assert message is not None
            assert message.publish_packet is not None
            got.append(bytes(message.publish_packet.payload.data))
        await client.unsubscribe(["a/+"])
        await client.disconnect()
        return got

    assert asyncio.run(run()) == [b"0", b"1", b"2", b"3", b"4"]
