"""A supernode whose packets to the cloud vanish: a member gets the SEP, and carries it as well."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.cluster.election.sep_holder import BACK_S
from tests.hosts.cloud import CloudNode, HostCloud
from tests.hosts.faults import Faults
from tests.hosts.gateways import until_one_cluster
from tests.hosts.network import Network
from tests.programs import until
from tests.share import seconds_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def holder_of(cloud: HostCloud, node: CloudNode) -> str:
    """Return the node through which the cloud reaches another."""
    answer = cloud.call("GET", f"/mds/v1/nodes/{node.node_id}", node.token)
    return str(answer.raise_for_status().json()["sepHolderId"])


# case N11
def test_the_sep_moves_when_packets_to_the_cloud_vanish(tmp_path: Path) -> None:
    with Network(4) as network, ExitStack() as stack:
        cloud = HostCloud(network.hosts[0], tmp_path / "cloud")
        stack.enter_context(cloud.program)
        nodes = [
            stack.enter_context(CloudNode(host, tmp_path / host.name, cloud))
            for host in network.hosts[1:]
        ]
        leader = until_one_cluster(nodes)

        def holders() -> set[str]:
            return {holder_of(cloud, node) for node in nodes}

        def way() -> str:
            return str(leader.status()["cloud"]["way"])

        until(lambda: holders() == {leader.node_id}, "the supernode holds the SEP", 30)
        to_cloud = (leader.host.number, cloud.host.number)
        network.set_faults(Faults(cut=[to_cloud, to_cloud[::-1]]))
        until(lambda: len(holders() - {leader.node_id}) == 1 == len(holders()), "it moves", 30)
        (holder_id,) = holders()
        assert way() == f"through {holder_id}"
        for node in nodes:
            assert cloud.call("GET", f"/sep/{node.node_id}/healthz").status_code == 200
        assert leader.cluster()["role"] == "supernode"
        network.set_faults()
        until(lambda: way() == "direct", "the way of the supernode works again", 60)
        stable_s = seconds_of(int(BACK_S - 10), 3)
        time.sleep(stable_s)  # the row's: not before a stable minute
        assert holders() == {holder_id}
        if stable_s == BACK_S - 10:
            until(lambda: holders() == {leader.node_id}, "the SEP is back", 30)
