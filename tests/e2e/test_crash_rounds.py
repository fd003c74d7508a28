"""A gateway killed again and again under load: what it acknowledged reaches the cloud."""

import json
import random
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.e2e.conftest import start_gateway
from tests.e2e.listener import Listener, account_of
from tests.programs import until
from tests.share import Count, find_seed, part_of
from tests.system import Gateway, start_cloud

ROUNDS = 15
IDS = 60_000  # fewer than there are packet ids, so that each names one message


def publish_until_cut(gateway: Gateway, start: int, seconds: float) -> tuple[int, set[int]]:
    """Publish numbers, kill the gateway; return the next number and those acknowledged."""
    acknowledged: list[int] = []  # packet ids; the callback runs in a thread of the client
    numbers: dict[int, int] = {}
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_publish = lambda *args: acknowledged.append(int(args[2]))
    client.connect("127.0.0.1", gateway.mqtt_port)
    client.loop_start()
    until(client.is_connected, "the publisher is connected")
    number, deadline = start, time.monotonic() + seconds
    while time.monotonic() < deadline and number - start < IDS:
        sent = client.publish("devices/load/readings/n", f'{{"value": {number}}}', 1)
        numbers[sent.mid] = number
        number += 1
        time.sleep(0.001)
    gateway.program.kill()
    client.disconnect()
    client.loop_stop()
    return number, {numbers[packet_id] for packet_id in acknowledged}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_by_kill(tmp_path: Path, record_property: Count) -> None:
    rounds = part_of(ROUNDS, least=5)
    chance = random.Random(find_seed())
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
    for _ in range(rounds):
        number, more = publish_until_cut(gateway, number, chance.uniform(0.2, 1.5))
        acknowledged |= more
        gateway = start_gateway(state, cloud)
        assert gateway.node_id == identity

    def drained() -> bool:
        arrived.update(json.loads(payload)["value"] for _, payload in listener.unread())
        return acknowledged <= arrived

    until(drained, "all acknowledged readings are in the cloud", 60)
    assert len(acknowledged) > rounds * 5
    record_property("kills", rounds)
    record_property("messages", len(acknowledged))
    listener.close()
    assert gateway.program.stop() == 0
    assert cloud.program.stop() == 0
