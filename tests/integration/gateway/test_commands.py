"""Commands of the cloud wait for a gateway that is away."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Any

import httpx
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.integration.gateway.device_peer import join
from tests.integration.gateway.nodes import Node
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Cloud

COMMANDS = 600
BEFORE = 100  # so many have arrived when the gateway ends


@contextmanager
def device_of(node: Node, credentials: dict[str, Any]) -> Iterator[Mqtt]:
    """Give a device whose session outlives its connection."""
    user, password = credentials["username"], credentials["password"]
    with Mqtt(node.mqtt_port, user, password, user, clean_start=False, expiry_s=3600) as device:
        assert device.is_in, device.reason
        yield device


def values(device: Mqtt) -> list[int]:
    return [int(payload) for payload in device.payloads()]


def queued(cloud: Cloud) -> float:
    text = httpx.get(f"{cloud.url}/metrics", trust_env=False).text
    lines = (line.split() for line in text.splitlines())
    return next(float(line[1]) for line in lines if line[0] == "hecate_broker_queued_bytes")


# case G10
@pytest.mark.parametrize(
    ("end", "version"),
    [(SIGTERM, MQTTProtocolVersion.MQTTv311), (SIGKILL, MQTTProtocolVersion.MQTTv5)],
)
def test_commands_wait_for_a_gateway_that_restarts(
    cloud: Cloud, tmp_path: Path, end: Signals, version: MQTTProtocolVersion
) -> None:
    with Node(tmp_path / "node", cloud) as node:
        credentials = join(node, node.claim())
        commands = f"{credentials['prefix']}/commands/led"
        app = Mqtt(cloud.mqtt_port, node.account, node.token, "sender", version)
        with app, device_of(node, credentials) as device:
            assert device.subscribe(f"{credentials['prefix']}/commands/#")
            above = f"nodes/{node.node_id}/down/{commands}"
            sent = [app.client.publish(above, str(n), 1) for n in range(COMMANDS)]
            until(lambda: len(device.messages) >= BEFORE, "some arrive")
            node.program.process.send_signal(end)
            node.program.wait()
            for each in sent:
                each.wait_for_publish(20)
            assert all(each.is_published() for each in sent), "the cloud has taken all"
            first = values(device)
        node.start()
        with device_of(node, credentials) as device:
            until(lambda: COMMANDS - 1 in values(device), "the last one arrives", 40)
            arrived = list(dict.fromkeys(first + values(device)))
    assert arrived == list(range(COMMANDS))


# case G10
def test_commands_are_acknowledged_in_the_cloud_when_the_local_broker_has_them(
    cloud: Cloud, tmp_path: Path
) -> None:
    with Node(tmp_path / "node", cloud) as node:
        credentials = join(node, node.claim())
        above = f"nodes/{node.node_id}/down/{credentials['prefix']}/commands/led"
        with node.application() as app, device_of(node, credentials) as device:
            assert device.subscribe(f"{credentials['prefix']}/commands/#")
        app = Mqtt(cloud.mqtt_port, node.account, node.token, "sender")
        with app:
            for number in range(BEFORE):
                assert app.publish(above, str(number))
        until(lambda: queued(cloud) == 0, "the gateway has acknowledged them")
        node.program.kill()
        node.start()
        node.until_ready()
        with device_of(node, credentials) as device:
            until(lambda: BEFORE - 1 in values(device), "the last one arrives")
            assert list(dict.fromkeys(values(device))) == list(range(BEFORE))
