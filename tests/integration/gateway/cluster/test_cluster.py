"""Three gateways on loopback: one supernode, one list of nodes, take-over after a kill."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.programs import ROOT, until
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
    first = until(lambda: leader_of(three), "one supernode")
    assert first is not None
    until(lambda: all(nodes(g) == everybody for g in three), "one list of nodes")
    others = [each for each in three if each is not first]
    first.program.kill()
    rest = everybody - {first.node_id}
    until(lambda: leader_of(others), "a take-over")
    until(lambda: all(nodes(g) == rest for g in others), "the list without the dead node")
    first.start()
    until(lambda: leader_of(three) not in (None, first), "the old supernode is a member")


def leader_of(gateways: Sequence[Gateway]) -> Gateway | None:
    """Return the gateway that all of them follow; None when there is none."""
    followed = {supernode(each) for each in gateways}
    return next((each for each in gateways if followed == {each.node_id}), None)


@pytest.mark.slow
def test_a_peer_that_is_configured_and_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import gateway.cluster.links.candidates as candidates\ncandidates.UNREACHED_S = 0.5\n"
    )
    own, free = free_port(), free_port()
    peers = [f"127.0.0.1:{own}", f"127.0.0.1:{free}", "nowhere.invalid:8084"]
    more = {"HECATE_GATEWAY_CLUSTER_PORT": str(own), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with start(tmp_path, "one", peers, **more) as gateway:
        told = until(lambda: [w for w in warnings(gateway) if "nowhere" in w], "it is named")
        assert f"cannot reach 127.0.0.1:{free}: " in told[0]
        assert f":{own}:" not in told[0]  # its own
        assert told[0].endswith("see [cluster] peers")
        other = start(tmp_path, "two", peers[:1], HECATE_GATEWAY_CLUSTER_PORT=str(free))
        with other:
            until(lambda: f":{free}:" not in "".join(warnings(gateway)), "it is there")


def warnings(gateway: Gateway) -> list[str]:
    return list(gateway.call("GET", "/cluster/v1")["warnings"])
