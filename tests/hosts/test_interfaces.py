"""Interfaces come late, change, and lead nowhere: nodes find each other all the same."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.gateways import HostGateway, start_gateways, until_one_cluster
from tests.hosts.network import Host, Network
from tests.programs import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def addresses_of(node: HostGateway, seen_by: HostGateway) -> list[str]:
    """Return where one node finds another."""
    members: list[dict[str, Any]] = seen_by.cluster()["members"]
    found = (member["addresses"] for member in members if member["id"] == node.node_id)
    return [str(address) for each in found for address in each]


def stated(node: HostGateway, seen_by: HostGateway) -> list[str]:
    """Return the addresses of the cluster port in a node's record."""
    answer = seen_by.call("GET", "/mds/v1/nodes", params={"clusters": "linkLocal"})
    (found,) = (each for each in answer["data"] if each["id"] == node.node_id)
    return [str(each["url"]["href"]) for each in found["addresses"] if each["type"] == "cluster"]


# case N1
def test_interfaces_come_late_and_change_without_a_restart(tmp_path: Path) -> None:
    with Network(3, plugged=False) as network, ExitStack() as stack:
        gateways = start_gateways(stack, network.hosts, tmp_path)
        assert {each.cluster()["role"] for each in gateways} == {"supernode"}  # each alone
        for host in network.hosts:
            host.plug()
        until_one_cluster(gateways)
        moved, *others = gateways
        old = moved.host.address
        moved.host.unplug()
        moved.host.plug("wan7", "10.77.0.77")
        new = "10.77.0.77:8084"

        def has_moved() -> bool:
            found = [addresses_of(moved, other) for other in others]
            return all(new in each and f"{old}:8084" not in each for each in found)

        until(has_moved, "the new address is known, and the old one withdrawn")
        until_one_cluster(gateways)
        assert [stated(moved, other) for other in others] == [[f"https://{new}"]] * 2
        starts = [len(each.programs) for each in gateways]
        assert starts == [1, 1, 1]


def add_dead_interfaces(host: Host) -> None:
    """Give a host the address of a container bridge, which all have, and a dead tunnel."""
    host.ip("link", "add", "docker0", "type", "bridge")
    host.ip("tuntap", "add", "tun0", "mode", "tun")
    for name, address in (("docker0", "172.17.0.1/16"), ("tun0", f"10.8.0.{host.number + 1}/24")):
        host.ip("addr", "add", address, "dev", name)
        host.ip("link", "set", name, "up")


# case N2
def test_addresses_that_lead_nowhere_do_not_hide_those_that_do(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        for host in network.hosts:
            add_dead_interfaces(host)
        gateways = start_gateways(stack, network.hosts, tmp_path)
        until_one_cluster(gateways)
        asker, *targets = gateways
        for target in targets:
            answer = asker.ask("GET", f"/nodes/{target.node_id}/healthz")
            assert answer.status_code == 200, answer.text


# case N2
def test_nodes_meet_by_link_local_addresses_alone(tmp_path: Path) -> None:
    with Network(2) as network, ExitStack() as stack:
        for host in network.hosts:
            host.add_cable()  # the second link of each
            for name in ("eth0", "eth1"):
                host.ip("addr", "flush", "dev", name, "scope", "global")
                host.ip("route", "flush", "dev", name, "proto", "boot")
        gateways = start_gateways(stack, network.hosts, tmp_path)
        leader = until_one_cluster(gateways)
        (member,) = (each for each in gateways if each is not leader)
        found = addresses_of(leader, member)
        assert found
        assert all("fe80:" in each and "%" in each for each in found), found
        answer = member.ask("GET", f"/nodes/{leader.node_id}/healthz")
        assert answer.status_code == 200, answer.text
