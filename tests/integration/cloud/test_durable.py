"""What the cloud's broker has acknowledged survives the cloud's end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.config import MqttSettings
from tests.integration.cloud.conftest import command, start
from tests.integration.cloud.peers import Cloud, Node
from tests.mqtt_peer import Mqtt
from tests.programs import Program, until

MESSAGES = 500
DEVELOPMENT = "[mid]\ndevelopment = true\n"


@contextmanager
def application(cloud: Cloud, account: str, version: MQTTProtocolVersion) -> Iterator[Mqtt]:
    """Give a client whose session outlives its connection."""
    signed_in = cloud.sign_in(cloud.dev_id_token(), scope="hec:data").raise_for_status()
    token = str(signed_in.json()["access_token"])
    properties = None
    if version is MQTTProtocolVersion.MQTTv5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
    with Mqtt(
        cloud.mqtt_port, account, token, "app", version, clean_start=False, properties=properties
    ) as client:
        assert client.is_in, client.reason
        yield client


# case CL2
@pytest.mark.parametrize(
    ("number", "version"),
    [(SIGTERM, MQTTProtocolVersion.MQTTv311), (SIGKILL, MQTTProtocolVersion.MQTTv5)],
)
def test_what_was_acknowledged_survives_the_end_of_the_cloud(
    tmp_path: Path, number: Signals, version: MQTTProtocolVersion
) -> None:
    cloud = start(tmp_path / "state", DEVELOPMENT)
    node = Node(cloud)
    node.register().raise_for_status()
    account = node.associate(cloud.dev_id_token())
    own = f"nodes/{node.node_id}"
    with application(cloud, account, version) as app:
        assert app.subscribe(f"{own}/readings/#")
    with node.connect() as gateway:
        assert gateway.publish(f"{own}/state", b"kept", retain=True)
        sent = [
            gateway.client.publish(f"{own}/readings/t", str(n), qos=1) for n in range(MESSAGES)
        ]
        for each in sent:
            each.wait_for_publish(30)
        assert all(each.is_published() for each in sent)
        ended = cloud.program.stop(number)
    assert ended == (0 if number is SIGTERM else -SIGKILL)

    cloud = start(tmp_path / "state", DEVELOPMENT)
    with application(cloud, account, version) as app:
        until(lambda: len(app.messages) >= MESSAGES, "the messages come")
        assert [int(p) for p in app.payloads(f"{own}/readings/t")] == list(range(MESSAGES))
        assert app.subscribe(f"{own}/state")
        until(lambda: app.payloads(f"{own}/state"), "the retained message comes")
        again = Node(cloud, key=node.key, sealing=node.sealing)
        with again.connect() as gateway:
            assert gateway.publish(f"{own}/readings/t", b"new")
        until(lambda: b"new" in app.payloads(), "the subscription is there as well")
    assert cloud.program.stop() == 0


# case CL2
def test_who_says_nothing_gets_what_survives_a_power_cut() -> None:
    assert MqttSettings().durability == "synced"


# case CL2
def test_another_cloud_may_not_use_the_same_journal(tmp_path: Path) -> None:
    cloud = start(tmp_path / "state", DEVELOPMENT)
    second = Program(command(tmp_path / "state"))
    second.wait_for("another process keeps its data there")
    assert second.wait() == 1
    assert cloud.program.stop() == 0


# case CL2
def test_a_node_that_is_forgotten_leaves_nothing_retained(tmp_path: Path) -> None:
    """What an owner's node said once is not for the next owner."""
    cloud = start(tmp_path / "state", DEVELOPMENT)
    node = Node(cloud)
    node.register().raise_for_status()
    account = node.associate(cloud.dev_id_token())
    own = f"nodes/{node.node_id}"
    with node.connect() as gateway:
        assert gateway.publish(f"{own}/state", b"private", retain=True)
    removed = cloud.call("DELETE", f"/mds/v1/nodes/{node.node_id}", node.token())
    assert removed.status_code == 204
    node.register().raise_for_status()
    node.associate(cloud.dev_id_token())
    with application(cloud, account, MQTTProtocolVersion.MQTTv5) as app:
        assert app.subscribe(f"{own}/#")
        with node.connect() as gateway:
            assert gateway.publish(f"{own}/fence", b"x")
        until(lambda: app.payloads(f"{own}/fence"), "the fence comes")
        assert not app.payloads(f"{own}/state")
    assert cloud.program.stop() == 0
