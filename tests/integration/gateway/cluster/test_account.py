"""Gateways of one account form a cluster by credentials of the cloud, also while it is away."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.gateway.nodes import Node
from tests.ports import free_port
from tests.programs import until
from tests.system import start_cloud


@pytest.mark.slow
def test_nodes_of_an_account_admit_each_other_and_no_stranger(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(3)]
    peers = ",".join(f"127.0.0.1:{port}" for port in ports)
    with ExitStack() as stack:
        cloud = start_cloud(tmp_path / "cloud")
        stack.enter_context(cloud.program)
        nodes = [
            stack.enter_context(
                Node(
                    tmp_path / name,
                    cloud,
                    HECATE_GATEWAY_CLUSTER_ADMIT="account" if name != "stranger" else "any",
                    HECATE_GATEWAY_CLUSTER_HOST="127.0.0.1",
                    HECATE_GATEWAY_CLUSTER_PORT=str(port),
                    HECATE_GATEWAY_CLUSTER_PEERS=peers,
                    HECATE_GATEWAY_CLUSTER_DISCOVERY="false",
                )
            )
            for name, port in zip(("one", "two", "stranger"), ports, strict=True)
        ]
        one, two, stranger = nodes

        def supernodes() -> set[str]:
            return {str(node.status()["cluster"]["supernodeId"]) for node in (one, two)}

        until(lambda: len(supernodes()) == 1, "one supernode of the account", 60)
        assert stranger.node_id not in supernodes()
        cloud.program.stop()
        (leader_id,) = supernodes()
        leader = one if one.node_id == leader_id else two
        leader.program.kill()
        leader.start()
        until(lambda: len(supernodes()) == 1, "one supernode again, without the cloud", 60)
        assert stranger.node_id not in supernodes()
