import pytest

from tests.integration.cloud.peers import Node, OpenIdProvider
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Cloud


def data_token(cloud: Cloud, id_token: str) -> str:
    answer = cloud.sign_in(id_token, scope="hec:data").raise_for_status()
    return str(answer.json()["access_token"])


def test_refused_connections(cloud: Cloud, node: Node, provider: OpenIdProvider) -> None:
    other = Node(cloud)
    for username, password in (
        (node.node_id, "forged"),
        (node.node_id, ""),
        (node.node_id, other.token()),
        (node.node_id, node.assertion()),
        (node.node_id, data_token(cloud, provider.id_token())),
    ):
        with Mqtt(cloud.mqtt_port, username, password, username) as mqtt:
            assert mqtt.reason is not None
            assert mqtt.reason.is_failure
    assert cloud.metric('hecate_tokens_refused_total{where="mqtt"}') >= 5


def test_topics_of_other_nodes_are_refused(cloud: Cloud, node: Node) -> None:
    other = Node(cloud)
    with node.connect() as mqtt:
        assert mqtt.publish(f"nodes/{node.node_id}/x", b"1")
        assert not mqtt.publish(f"nodes/{other.node_id}/x", b"1")
        assert not mqtt.publish(f"nodes/{node.node_id}/down/x", b"1")
        assert mqtt.subscribe(f"nodes/{node.node_id}/down/#")
        assert mqtt.subscribe(f"$hec/sep/{node.node_id}/+/request")
        for foreign in (
            "#",
            f"nodes/{other.node_id}/down/#",
            f"$hec/sep/{other.node_id}/+/request",
        ):
            assert not mqtt.subscribe(foreign)


def test_readings_go_up_and_commands_down_within_an_account(
    cloud: Cloud, provider: OpenIdProvider, node: Node
) -> None:
    me = provider.id_token(sub="farmer")
    account = node.associate(me)
    reading, command = f"nodes/{node.node_id}/devices/d/readings/t", "devices/d/commands/c"
    with (
        node.connect() as gateway,
        Mqtt(cloud.mqtt_port, account, data_token(cloud, me), "app") as app,
    ):
        assert app.subscribe(f"nodes/{node.node_id}/devices/+/readings/#")
        assert gateway.subscribe(f"nodes/{node.node_id}/down/#")
        assert gateway.publish(reading, b"21.5")
        until(lambda: app.messages, "the reading arrives")
        assert (app.messages[0].topic, app.messages[0].payload) == (reading, b"21.5")
        assert app.publish(f"nodes/{node.node_id}/down/{command}", b"on")
        until(lambda: gateway.messages, "the command arrives")
        assert gateway.messages[0].topic == f"nodes/{node.node_id}/down/{command}"
        assert not app.publish(reading, b"forged")


def test_other_accounts_see_and_command_nothing(
    cloud: Cloud, provider: OpenIdProvider, node: Node
) -> None:
    node.associate(provider.id_token(sub="farmer"))
    thief_node = Node(cloud)
    thief_node.register().raise_for_status()
    thief = provider.id_token(sub="thief")
    account = thief_node.associate(thief)
    with Mqtt(cloud.mqtt_port, account, data_token(cloud, thief), "app") as app:
        assert app.subscribe(f"nodes/{thief_node.node_id}/#")
        assert not app.subscribe(f"nodes/{node.node_id}/#")
        assert not app.subscribe("nodes/+/#")
        assert not app.publish(f"nodes/{node.node_id}/down/x", b"")


def test_a_forgotten_node_is_no_longer_readable_by_its_account(
    cloud: Cloud, provider: OpenIdProvider, node: Node
) -> None:
    me = provider.id_token(sub="farmer")
    account = node.associate(me)
    with Mqtt(cloud.mqtt_port, account, data_token(cloud, me), "app") as app:
        assert app.subscribe(f"nodes/{node.node_id}/#")
        path = f"/mds/v1/nodes/{node.node_id}"
        cloud.call("DELETE", path, node.token()).raise_for_status()
        with node.connect() as gateway:
            assert gateway.publish(f"nodes/{node.node_id}/secret", b"x")
            assert gateway.publish(f"nodes/{node.node_id}/secret", b"x")
        assert not app.subscribe(f"nodes/{node.node_id}/#")
        assert app.messages == []


@pytest.mark.parametrize("scope", ["edge:clusters", "edge:mcm"])
def test_a_token_without_the_data_scope_does_not_connect(
    cloud: Cloud, provider: OpenIdProvider, node: Node, scope: str
) -> None:
    me = provider.id_token(sub="farmer")
    account = node.associate(me)
    token = cloud.sign_in(me, scope=scope).json()["access_token"]
    with Mqtt(cloud.mqtt_port, account, token, "app") as app:
        assert app.reason is not None
        assert app.reason.is_failure


def test_a_client_id_of_another_cannot_be_taken_over(cloud: Cloud, node: Node) -> None:
    other = Node(cloud)
    with node.connect() as mqtt:
        with Mqtt(cloud.mqtt_port, other.node_id, other.token(), client_id=node.node_id):
            pass
        assert not mqtt.lost.is_set()
        assert mqtt.publish(f"nodes/{node.node_id}/x", b"still here")
