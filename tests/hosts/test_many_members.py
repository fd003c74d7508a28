"""Two hundred members lose their supernode at once: all register anew, and nobody reloads all."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.gateways import SECRET, HostGateway
from tests.hosts.network import Host, Network
from tests.programs import Program, until
from tests.share import Count, part_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

MEMBERS = part_of(200, least=80)  # more than ALL_AT_HAND of exchange.py


# case N12
def test_all_members_move_to_the_successor_and_load_nothing_anew(
    tmp_path: Path, record_property: Count
) -> None:
    with Network(3) as network, ExitStack() as stack:
        first, second, third = network.hosts
        peers = [f"{host.address}:8084" for host in (first, second)]
        gateways = [
            stack.enter_context(
                HostGateway(host, tmp_path / host.name, HECATE_GATEWAY_CLUSTER_CAPABILITY=rank)
            )
            for host, rank in ((first, "200"), (second, "150"))
        ]
        leader, successor = gateways
        ids = {leader.node_id}
        until(lambda: {g.cluster()["supernodeId"] for g in gateways} == ids, "the best leads")
        command = (sys.executable, "-m", "benchmarks.cluster.members", "--secret", SECRET)
        options = ("--count", str(MEMBERS), "--host", third.address, "--peers", ",".join(peers))
        program = Program(third.command(*command, *options))
        stack.enter_context(program)
        until(lambda: len(leader.listed()) == MEMBERS + 2, "all are registered", 60)
        until(lambda: leader.cluster()["successors"][0] == successor.node_id, "its successor")
        known = len(successor.listed())
        assert known == MEMBERS + 2
        received, sent = received_records(program), sent_bytes(second)
        with ThreadPoolExecutor(1) as pool:
            leader.program.kill()
            started = time.monotonic()
            others = pool.submit(ask_until, successor, started + 5)
            until(lambda: successor.cluster()["role"] == "supernode", "the take-over")
            everybody = MEMBERS + 1
            until(lambda: registered(successor) == everybody, "all are registered again", 60)
            # it drops those that have not registered 5 s after the take-over
            took_s = time.monotonic() - started
            used = sent_bytes(second) - sent
            longest_s = others.result()
        record_property("milliseconds until all are registered", round(took_s * 1000))
        record_property("milliseconds of the longest other request", round(longest_s * 1000))
        record_property("bytes to each member", used // MEMBERS)
        loaded = received_records(program) - received
        assert loaded < MEMBERS * MEMBERS / 4, loaded  # all would load all: MEMBERS * MEMBERS
        leader.start()


def registered(supernode: HostGateway) -> int:
    """Return how many nodes have a data connection, or are the supernode itself."""
    return int(supernode.status()["cluster"]["members"])


def ask_until(gateway: HostGateway, end: float) -> float:
    """Ask for the health of a node until a time; return the longest time that it took."""
    longest_s = 0.0
    while time.monotonic() < end:
        started = time.monotonic()
        assert gateway.ask("GET", "/healthz").status_code == 200
        longest_s = max(longest_s, time.monotonic() - started)
    return longest_s


def received_records(program: Program) -> int:
    """Return how many records of others the members have got."""
    last = next(line for line in reversed(program.lines) if line.startswith("{"))
    return int(json.loads(last)["received"])


def sent_bytes(host: Host) -> int:
    """Return how many bytes a host has sent."""
    with Program(host.command("cat", "/sys/class/net/eth0/statistics/tx_bytes")) as shown:
        shown.wait()
    return int(shown.lines[0])
