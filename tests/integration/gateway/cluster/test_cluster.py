"""Three gateways on loopback: one supernode, one list of nodes, take-over after a kill."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.programs import until
from tests.system import Gateway


def start(tmp_path: Path, name: str, peers: list[str], **more: str) -> Gateway:
    return Gateway(
        tmp_path / name,
        HECATE_GATEWAY_NODE_NAME=name,
        HECATE_GATEWAY_CLUSTER_ADMIT="secret",
        HECATE_GATEWAY_CLUSTER_SECRET="a secret of the cluster",
        HECATE_GATEWAY_CLUSTER_HOST="127.0.0.1",
        HECATE_GATEWAY_CLUSTER_DISCOVERY="false",
        HECATE_GATEWAY_CLUSTER_PEERS=",".join(peers),
        **more,
    )


def nodes(gateway: Gateway) -> set[str]:
    answer = gateway.call("GET", "/mds/v1/nodes", params={"clusters": "linkLocal"})
    return {node["id"] for node in answer["data"]}


def supernode(gateway: Gateway) -> str:
    return str(gateway.status()["cluster"]["supernodeId"])


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Gateway]]:
    ports = [free_port() for _ in range(3)]
    peers = [f"127.0.0.1:{port}" for port in ports]
    started: list[Gateway] = []
    with ExitStack() as stack:
        for name, port in zip(("one", "two", "three"), ports, strict=True):
            gateway = start(tmp_path, name, peers, HECATE_GATEWAY_CLUSTER_PORT=str(port))
            stack.enter_context(gateway)
            started.append(gateway)
        yield started


@pytest.mark.slow
def test_three_gateways_are_one_cluster(three: list[Gateway]) -> None:
    everybody = {gateway.node_id for gateway in three}
    until(lambda: {supernode(g) for g in three} == {three[0].node_id}, "one supernode")
    until(lambda: all(nodes(g) == everybody for g in three), "one list of nodes")
    three[0].program.kill()
    rest = everybody - {three[0].node_id}
    until(lambda: len({supernode(g) for g in three[1:]} & rest) == 1, "a take-over")
    until(lambda: all(nodes(g) == rest for g in three[1:]), "the list without the dead node")
    three[0].start()
    (leader,) = {supernode(g) for g in three[1:]}
    until(lambda: {supernode(g) for g in three} == {leader}, "the old supernode is a member")
    until(lambda: all(nodes(g) == everybody for g in three), "one list of nodes")
