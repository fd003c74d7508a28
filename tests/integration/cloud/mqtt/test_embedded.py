"""Messages that the cloud's broker has acknowledged survive the cloud's end."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from cloud.config import CloudMqttSettings
from cloud.mqtt.policy import SESSIONS_PER_IDENTITY
from tests.integration.cloud.peers import Node, OpenIdProvider
from tests.mqtt_peer import Mqtt
from tests.programs import Program, until
from tests.system import Cloud, cloud_command, start_cloud

MESSAGES = 500
KEPT_S = 3600  # session expiry
DEVELOPMENT = "[mid]\ndevelopment = true\n"


@contextmanager
def application(cloud: Cloud, account: str, version: MQTTProtocolVersion) -> Iterator[Mqtt]:
    """Give a client whose session outlives its connection."""
    signed_in = cloud.sign_in(cloud.dev_id_token(), scope="hec:data").raise_for_status()
    token = str(signed_in.json()["access_token"])
    with Mqtt(
        cloud.mqtt_port, account, token, "app", version, clean_start=False, expiry_s=KEPT_S
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
    cloud = start_cloud(tmp_path / "state", DEVELOPMENT)
    node = Node(cloud)
    node.register().raise_for_status()
    account = node.associate(cloud.dev_id_token())
    own = f"nodes/{node.node_id}"
    with application(cloud, account, version) as app:
        assert app.subscribe(f"{own}/readings/#")
    with node.connect() as gateway:
        assert gateway.publish(f"{own}/state", b"kept", retain=True)
        sent = [gateway.client.publish(f"{own}/readings/t", str(n), qos=1) for n in range(MESSAGES)]
        for each in sent:
            each.wait_for_publish(30)
        assert all(each.is_published() for each in sent)
        ended = cloud.program.stop(number)
    assert ended == (0 if number is SIGTERM else -SIGKILL)

    cloud = start_cloud(tmp_path / "state", DEVELOPMENT)
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
def test_the_default_durability_survives_a_power_cut() -> None:
    assert CloudMqttSettings().durability == "synced"


# case CL2
def test_another_cloud_may_not_use_the_same_journal(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "state", DEVELOPMENT)
    second = Program(cloud_command(tmp_path / "state"))
    second.wait_for("another process keeps its data there")
    assert second.wait() == 1
    assert cloud.program.stop() == 0


# case CL2
def test_a_node_that_is_forgotten_leaves_nothing_retained(tmp_path: Path) -> None:
    """The next owner of a node does not get messages of the former one."""
    cloud = start_cloud(tmp_path / "state", DEVELOPMENT)
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


# case G10
def test_senders_are_told_when_the_queue_of_a_node_is_full(
    cloud: Cloud, provider: OpenIdProvider, node: Node
) -> None:
    me = provider.id_token(sub="farmer")
    account = node.associate(me)
    signed_in = cloud.sign_in(me, scope="hec:data").raise_for_status()
    token = str(signed_in.json()["access_token"])
    port, command = cloud.mqtt_port, f"nodes/{node.node_id}/down/x"
    with Mqtt(port, node.node_id, node.token(), node.node_id, expiry_s=KEPT_S) as gateway:
        assert gateway.subscribe(f"nodes/{node.node_id}/down/#")
    with Mqtt(port, account, token, "five") as app:
        taken = [app.publish(command, bytes([n]) * 1_000_000) for n in range(6)]
        assert taken == [True] * 4 + [False] * 2
        assert app.publish(f"nodes/{node.node_id}/down/y", b"small"), "there is room for it"
    old = MQTTProtocolVersion.MQTTv311
    with Mqtt(port, account, token, "old", old) as app:
        told = app.client.publish(command, bytes(1_000_000), 1)
        assert app.lost.wait(10)
        with contextlib.suppress(RuntimeError):  # paho raises when its thread knows of the loss
            assert not told.is_published()
    assert cloud.metric("hecate_commands_refused_total") >= 3
    with Mqtt(
        port, node.node_id, node.token(), node.node_id, clean_start=False, expiry_s=KEPT_S
    ) as gateway:
        until(lambda: len(gateway.messages) >= 5, "what was taken comes")
        assert [bytes(m.payload)[0] for m in gateway.messages[:4]] == [0, 1, 2, 3]
    with Mqtt(port, account, token, "five") as app:
        assert app.publish(command, bytes(1_000_000)), "there is room again"


# case G10
def test_a_stranger_neither_takes_client_ids_nor_fills_the_store_of_sessions(
    cloud: Cloud, node: Node
) -> None:
    stranger = Node(cloud)
    token = stranger.token()
    port = cloud.mqtt_port
    with Mqtt(port, stranger.node_id, token, node.node_id, expiry_s=KEPT_S) as first:
        assert first.is_in
        with node.connect() as gateway:
            assert gateway.is_in, "its client id is its own"
            assert not first.lost.is_set()
    # nobody registered it: its sessions end with their connections
    with Mqtt(port, stranger.node_id, token, "x", clean_start=False, expiry_s=KEPT_S) as again:
        assert again.subscribe(f"nodes/{stranger.node_id}/down/#")
    with Mqtt(port, stranger.node_id, token, "x", clean_start=False, expiry_s=KEPT_S) as again:
        assert not again.session_present
    stranger.register(token).raise_for_status()
    let_in = []
    for number in range(SESSIONS_PER_IDENTITY + 2):
        with Mqtt(port, stranger.node_id, token, f"c{number}", expiry_s=KEPT_S) as client:
            let_in.append(client.is_in)
    assert let_in == [True] * SESSIONS_PER_IDENTITY + [False] * 2
