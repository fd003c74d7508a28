"""A gateway killed again and again under load: what it acknowledged reaches the cloud."""

import random
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.e2e.conftest import Gateway, start_cloud, start_gateway
from tests.e2e.test_whole_way import Listener, account_of
from tests.programs import until

ROUNDS = 15
SEED = 20261123


def publish_until_cut(
    port: int, start: int, stop_after_s: float, kill: Gateway
) -> tuple[int, set[int]]:
    """Publish numbers, kill the gateway; return the next number and those acknowledged."""
    acknowledged: set[int] = set()
    numbers: dict[int, int] = {}
    lock = threading.Lock()
    client = paho.Client(CallbackAPIVersion.VERSION2)

    def on_publish(*args: object) -> None:
        with lock:
            acknowledged.add(numbers[int(str(args[2]))])

    client.on_publish = on_publish
    client.connect("127.0.0.1", port)
    client.loop_start()
    until(client.is_connected, "the publisher is connected")
    number, deadline = start, time.monotonic() + stop_after_s
    while time.monotonic() < deadline:
        with lock:
            sent = client.publish("devices/load/readings/n", f'{{"value": {number}}}', 1)
            numbers[sent.mid] = number
        number += 1
        time.sleep(0.001)
    kill.program.kill()
    client.loop_stop()
    with lock:
        return number, set(acknowledged)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_by_kill(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    cloud = start_cloud(tmp_path / "cloud")
    state = tmp_path / "gateway"
    gateway = start_gateway(state, cloud)
    identity = gateway.node_id
    gateway.rpc("associateAccount", cloud.log_in(
        edge_id_token=gateway.rpc("getEdgeIdToken")["id_token"]))  # fmt: skip
    token = cloud.log_in()
    listener = Listener(cloud.mqtt_port, f"nodes/{identity}/devices/#", account_of(token), token)
    arrived: set[int] = set()
    acknowledged: set[int] = set()
    number = 0
    for _ in range(ROUNDS):
        number, more = publish_until_cut(
            gateway.mqtt_port, number, chance.uniform(0.2, 1.5), gateway
        )
        acknowledged |= more
        gateway = start_gateway(state, cloud)
        assert gateway.node_id == identity

    def drained() -> bool:
        while not listener.heard.empty():
            arrived.add(listener.wait_for("readings")["value"])
        return acknowledged <= arrived

    until(drained, "all acknowledged readings are in the cloud", 60)
    assert len(acknowledged) > ROUNDS * 20
    listener.close()
    assert gateway.program.stop() == 0
    assert cloud.program.stop() == 0
