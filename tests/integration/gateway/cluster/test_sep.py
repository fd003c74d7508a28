"""The SEP of a cluster: requests for a member go through its supernode, which cannot read them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.integration.gateway.nodes import Node
from tests.ports import free_port
from tests.programs import until
from tests.system import Cloud, start_cloud


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Cloud, list[Node]]]:
    ports = [free_port() for _ in range(3)]
    peers = ",".join(f"127.0.0.1:{port}" for port in ports)
    with ExitStack() as stack:
        cloud = start_cloud(tmp_path / "cloud")
        stack.enter_context(cloud.program)
        nodes = [
            stack.enter_context(
                Node(
                    tmp_path / f"n{number}",
                    cloud,
                    HECATE_GATEWAY_CLUSTER_ADMIT="account",
                    HECATE_GATEWAY_CLUSTER_HOST="127.0.0.1",
                    HECATE_GATEWAY_CLUSTER_PORT=str(port),
                    HECATE_GATEWAY_CLUSTER_PEERS=peers,
                    HECATE_GATEWAY_CLUSTER_DISCOVERY="false",
                )
            )
            for number, port in enumerate(ports)
        ]
        yield cloud, nodes


def call(cloud: Cloud, node: Node, path: str = "/healthz") -> int:
    return httpx.get(
        f"{cloud.url}/sep/{node.node_id}{path}", trust_env=False, timeout=30
    ).status_code


def registered(cloud: Cloud, node: Node) -> str:
    """Return the supernode through which the cloud reaches a node."""
    answer = cloud.call("GET", f"/mds/v1/nodes/{node.node_id}", node.token)
    return str(answer.raise_for_status().json()["supernodeId"])


@pytest.mark.slow
def test_requests_reach_members_through_the_supernode_and_move_with_it(
    cluster: tuple[Cloud, list[Node]],
) -> None:
    cloud, nodes = cluster

    def leaders(of: list[Node]) -> set[str]:
        return {str(node.status()["cluster"]["supernodeId"]) for node in of}

    until(lambda: len(leaders(nodes)) == 1, "one supernode", 60)
    (leader_id,) = leaders(nodes)
    until(lambda: {registered(cloud, n) for n in nodes} == {leader_id}, "all vouched for", 30)
    for node in nodes:
        assert call(cloud, node) == 200
    leader = next(n for n in nodes if n.node_id == leader_id)
    passed = leader.status()["cluster"]["sepPassed"]
    assert passed == 2 * (len(nodes) - 1)  # a request and an answer each
    rest = [n for n in nodes if n is not leader]
    leader.program.kill()
    until(lambda: len(leaders(rest) - {leader_id}) == 1, "a take-over")
    until(lambda: {registered(cloud, n) for n in rest} == leaders(rest), "vouched for anew", 30)
    for node in rest:
        assert call(cloud, node) == 200
    leader.start()
    until(lambda: {registered(cloud, n) for n in nodes} == leaders(rest), "it is a member", 30)
    assert call(cloud, leader) == 200
