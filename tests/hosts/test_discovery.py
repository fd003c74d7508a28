"""Gateways on hosts of their own find each other by multicast DNS alone."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.network import HostGateway, Network
from tests.programs import until


def supernode(gateway: HostGateway) -> str:
    return str(gateway.status()["cluster"]["supernodeId"])


@pytest.mark.slow
def test_three_hosts_form_a_cluster_and_survive_a_power_loss(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        gateways = [
            stack.enter_context(HostGateway(host, tmp_path / host.name)) for host in network.hosts
        ]
        until(lambda: len({supernode(g) for g in gateways} - {""}) == 1, "one supernode")
        (leader_id,) = {supernode(g) for g in gateways}
        leader = next(g for g in gateways if g.node_id == leader_id)
        others = [g for g in gateways if g is not leader]
        leader.host.link("down")
        rest = {g.node_id for g in others}
        until(lambda: len({supernode(g) for g in others} & rest) == 1, "a take-over")
        leader.host.link("up")
        until(lambda: len({supernode(g) for g in gateways}) == 1, "the halves have merged")
