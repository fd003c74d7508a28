"""The default, [cluster] admit = "account": no port without an account, and none that is taken."""

import logging
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from gateway.config import ClusterSettings
from tests.integration.gateway.nodes import Node
from tests.ports import free_port, hold_port
from tests.programs import until
from tests.system import Gateway, start_cloud


def listening(gateway: Gateway) -> set[int]:
    process = psutil.Process(gateway.program.process.pid)
    return {c.laddr.port for c in process.net_connections() if c.status == psutil.CONN_LISTEN}


def supernode(gateway: Gateway) -> str:
    return str(gateway.status()["cluster"]["supernodeId"])


def test_a_gateway_without_an_account_is_alone_and_opens_no_port(tmp_path: Path) -> None:
    admit = ClusterSettings().admit
    assert admit == "account"
    port = free_port()
    with Gateway(
        tmp_path / "alone",
        HECATE_GATEWAY_CLUSTER_ADMIT=admit,
        HECATE_GATEWAY_CLUSTER_PORT=str(port),
    ) as alone:
        assert supernode(alone) == alone.node_id
        assert alone.ask("GET", "/readyz", "").json() == {"status": "ready"}
        assert port not in listening(alone)
        assert alone.call("GET", "/cluster/v1")["warnings"] == []


def test_a_port_that_is_taken_is_no_reason_to_fail(tmp_path: Path) -> None:
    with hold_port() as held:
        port = held.getsockname()[1]
        with Gateway(
            tmp_path / "second",
            HECATE_GATEWAY_CLUSTER_ADMIT="secret",
            HECATE_GATEWAY_CLUSTER_SECRET="a secret of the cluster",
            HECATE_GATEWAY_CLUSTER_HOST="127.0.0.1",
            HECATE_GATEWAY_CLUSTER_PORT=str(port),
            HECATE_GATEWAY_CLUSTER_DISCOVERY="false",
        ) as second:
            (record,) = second.call("GET", "/mds/v1/nodes")["data"]
            (told,) = [a["url"]["href"] for a in record["addresses"] if a["type"] == "cluster"]
            other = int(told.rpartition(":")[2])
            assert other != port
            assert other in listening(second)
            warned = [ln for ln in second.program.lines if f"port {port} is in use" in ln]
            assert len(warned) == 1
            assert f"at port {other}" in warned[0]
            assert logging.getLevelName(logging.WARNING)[:4] in warned[0]


@pytest.mark.slow
def test_nodes_take_part_while_they_are_in_an_account(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        cloud = start_cloud(tmp_path / "cloud")
        stack.enter_context(cloud.program)

        def start(name: str) -> Node:
            node = Node(
                tmp_path / name,
                cloud,
                HECATE_GATEWAY_CLUSTER_ADMIT="account",
                HECATE_GATEWAY_CLUSTER_HOST="127.0.0.1",
                HECATE_GATEWAY_CLUSTER_PORT=str(port),
                HECATE_GATEWAY_CLUSTER_PEERS=f"127.0.0.1:{port}",
                HECATE_GATEWAY_CLUSTER_DISCOVERY="false",
            )
            return stack.enter_context(node)

        one = start("one")
        until(lambda: port in listening(one), "it takes part as it is in an account", 30)
        two = start("two")
        until(lambda: supernode(one) == supernode(two), "one cluster", 30)
        routes = one.call("GET", f"/cluster/v1/routes/{two.node_id}")["data"]
        assert [each["way"] for each in routes] == ["lan", "sep"]
        two.call("DELETE", "/account/v1")
        until(lambda: supernode(two) == two.node_id, "it leads alone again", 30)
        until(lambda: supernode(one) == one.node_id, "the other one, too", 30)
        until(lambda: len(two.call("GET", "/mds/v1/nodes")["data"]) == 1, "it knows itself alone")
        assert "cluster" not in str(two.call("GET", "/mds/v1/nodes")["data"][0]["addresses"])
        one.stop()
        one.start()
        until(lambda: port in listening(one), "it takes part from the start")
