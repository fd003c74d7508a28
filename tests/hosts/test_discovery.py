"""Gateways on hosts of their own find each other by multicast DNS alone."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.gateways import start_gateways, until_one_cluster
from tests.hosts.network import Network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_three_hosts_form_a_cluster_and_survive_a_power_loss(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        gateways = start_gateways(stack, network.hosts, tmp_path)
        leader = until_one_cluster(gateways)
        others = [each for each in gateways if each is not leader]
        leader.lose_power()
        until_one_cluster(others)
        leader.get_power()
        until_one_cluster(gateways)
