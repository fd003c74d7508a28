"""Multicast that stops, or comes back as an echo, changes nothing for nodes that are linked."""

import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.faults import Faults
from tests.hosts.gateways import HostGateway, start_gateway, start_gateways, until_one_cluster
from tests.hosts.network import Network
from tests.hosts.steady import hold_still
from tests.programs import Program
from tests.share import seconds_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


# case N3
def test_nobody_vanishes_without_multicast_and_a_newcomer_joins_by_configured_peers(
    tmp_path: Path,
) -> None:
    with Network(4) as network, ExitStack() as stack:
        gateways = start_gateways(stack, network.hosts[:3], tmp_path)
        leader = until_one_cluster(gateways)
        network.set_faults(Faults(without_multicast=True))
        hold_still(gateways, seconds_of(300, 20))
        last = network.hosts[3]
        peers = f"{leader.host.address}:8084"
        newcomer = start_gateway(stack, last, tmp_path, HECATE_GATEWAY_CLUSTER_PEERS=peers)
        assert until_one_cluster([*gateways, newcomer]) is leader


# case N4
def test_an_echo_of_multicast_makes_no_storm_and_renames_nobody(tmp_path: Path) -> None:
    with Network(4) as network, ExitStack() as stack:
        echoing = network.hosts[3]
        command = echoing.command(sys.executable, "-m", "tests.hosts.mdns_echo", "eth0")
        echo = stack.enter_context(Program(command))
        echo.wait_for("echoing")
        gateways = start_gateways(stack, network.hosts[:3], tmp_path)
        until_one_cluster(gateways)
        time.sleep(5)  # the row's: announcements and questions at the start are not counted
        seconds = 10
        before = [sent_to_5353(each) for each in gateways]
        hold_still(gateways, seconds)
        for gateway, sent in zip(gateways, before, strict=True):
            assert (sent_to_5353(gateway) - sent) / seconds <= 10
        echo.process.send_signal(signal.SIGUSR1)
        names = set(echo.wait_for(r"names: (.*)")[1].split())
        assert names == {each.node_id for each in gateways}, names
        assert int(echo.wait_for(r"echoed: (\d+)")[1]) > 0


def sent_to_5353(gateway: HostGateway) -> int:
    """Return how many packets it has sent by UDP, all of them multicast DNS."""
    command = gateway.host.command("cat", "/proc/self/net/snmp")
    with Program(command) as shown:
        shown.wait()
    heads, values = (line.split() for line in shown.lines if line.startswith("Udp:"))
    return int(values[heads.index("OutDatagrams")])
