"""A Mosquitto that is bridged to our broker by its default settings."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker import Listener
from broker.journal import Journal
from tests.integration.broker.conftest import BrokerThread
from tests.paho_client import V4, Paho
from tests.peers import require
from tests.programs import until


@pytest.fixture
def stored(start_broker: Callable[..., BrokerThread], tmp_path: Path) -> BrokerThread:
    return start_broker(Listener(port=0), store=Journal(tmp_path / "kept", "os"))


@pytest.fixture
def mosquitto(stored: BrokerThread, tmp_path: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\n"
        f"connection ours\naddress 127.0.0.1:{stored.port}\ntopic # both 1\n"
    )
    with subprocess.Popen([require("mosquitto"), "-c", str(config)]) as process:
        try:
            until(lambda: stored.broker.connected(), "the bridge connects")
            until(lambda: stored.broker.counters.subscriptions, "the bridge subscribes")
            yield port
        finally:
            process.kill()


# case B3
def test_a_default_bridge_of_mosquitto_carries_both_ways_without_a_loop(
    stored: BrokerThread, mosquitto: int
) -> None:
    with Paho("here", V4) as here, Paho("there", V4) as there:
        here.connect("127.0.0.1", stored.port)
        there.connect("127.0.0.1", mosquitto)
        for each in (here, there):
            each.subscribe("plant/#", 1)
        there.publish("plant/1", b"from there", 1, retain=True)
        assert here.take().payload == b"from there"
        here.publish("plant/2", b"from here", 1, retain=True)
        assert [there.take().payload for _ in range(2)] == [b"from there", b"from here"]
        assert here.take().payload == b"from here"
        here.publish("plant/end", b"end", 1)
        there.publish("plant/end", b"end", 1)
        for each in (here, there):  # nothing came twice
            assert [each.take().payload for _ in range(2)] == [b"end", b"end"]
            assert each.messages.empty()
    with Paho("late", V4) as late:  # RETAIN went over the bridge
        late.connect("127.0.0.1", mosquitto)
        late.subscribe("plant/2", 1)
        message = late.take()
        assert (message.payload, message.retain) == (b"from here", True)
