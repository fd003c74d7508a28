"""QoS 2 with clients that others wrote."""

import subprocess
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.integration.broker.conftest import BrokerThread
from tests.paho_client import V4, V5, Paho
from tests.peers import require
from tests.programs import PATIENCE

WAIT_S = 20 * PATIENCE

both = pytest.mark.parametrize("version", [V4, V5])


@both
@pytest.mark.parametrize("other", [V4, V5])
def test_many_messages_arrive_once_and_in_order(
    broker: BrokerThread, version: MQTTProtocolVersion, other: MQTTProtocolVersion
) -> None:
    with Paho("r", version) as receiver, Paho("s", other) as sender:
        receiver.connect("127.0.0.1", broker.port)
        sender.connect("127.0.0.1", broker.port)
        receiver.subscribe("a", 2)
        for number in range(500):
            sender.client.publish("a", b"%d" % number, 2)
        sender.publish("a", b"500", 2)
        got = [receiver.take() for _ in range(501)]
        assert [int(each.payload) for each in got] == list(range(501))
        assert all(each.qos == 2 for each in got)
        assert receiver.messages.empty()
    assert broker.call(lambda: broker.broker.counters.queued_bytes) == 0


@both
def test_a_stored_session_gets_what_it_missed(
    broker: BrokerThread, version: MQTTProtocolVersion
) -> None:
    with Paho("away", version, clean=False, expiry_s=600) as first:
        first.connect("127.0.0.1", broker.port)
        first.subscribe("a", 2)
    with Paho("s", version) as sender:
        sender.connect("127.0.0.1", broker.port)
        for number in range(10):
            sender.publish("a", b"%d" % number, 2)
    with Paho("away", version, clean=False, expiry_s=600) as again:
        assert again.connect("127.0.0.1", broker.port)[0]
        assert [int(again.take().payload) for _ in range(10)] == list(range(10))


@pytest.mark.parametrize("version", ["311", "5"])
def test_mosquitto_pub_and_sub(broker: BrokerThread, tmp_path: Path, version: str) -> None:
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-V", version, "-q", "2"]
    stay = ["-i", "stays", "-c"] + (["-x", "100"] if version == "5" else [])
    sub = [require("mosquitto_sub"), *where, *stay, "-t", "a"]
    subprocess.run([*sub, "-E"], check=True, timeout=WAIT_S)
    lines = tmp_path / "lines"
    lines.write_text("".join(f"{number}\n" for number in range(200)))
    with lines.open() as stdin:
        subprocess.run(
            [require("mosquitto_pub"), *where, "-t", "a", "-l"],
            stdin=stdin,
            check=True,
            timeout=WAIT_S,
        )
    done = subprocess.run(
        [*sub, "-C", "200", "-F", "%q %p"],
        check=True,
        timeout=WAIT_S,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.stdout.splitlines() == [f"2 {number}" for number in range(200)]
