"""Many members at one supernode: all come to the successor after a kill, and reload nothing."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.cluster.records.exchange import ALL_AT_HAND
from tests.integration.gateway.cluster.test_cluster import start
from tests.ports import free_port
from tests.programs import Program, until
from tests.share import part_of
from tests.system import Gateway

SECRET = "a secret of the cluster"
MEMBERS = part_of(200, least=60)
MIB_PER_MEMBER = 0.5  # 0.13 to 0.2 are measured
CPU_S_PER_MEMBER = 0.05  # 0.004 is measured


@contextmanager
def members(peers: list[str], count: int) -> Iterator[Program]:
    command = (sys.executable, "-m", "benchmarks.cluster.members")
    options = ("--count", str(count), "--peers", ",".join(peers))
    with Program((*command, *options), {"HECATE_GATEWAY_CLUSTER_SECRET": SECRET}) as program:
        yield program


def registered(program: Program, at: Gateway) -> int:
    lines = [line for line in program.lines[-3:] if line.startswith("{")]
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {"registered": {}}
    return int(last["registered"].get(at.node_id, 0))


def leader_of(gateways: list[Gateway]) -> Gateway | None:
    leaders = {str(each.status()["cluster"]["supernodeId"]) for each in gateways}
    return next((each for each in gateways if leaders == {each.node_id}), None)


def cpu_s(gateway: Gateway) -> float:
    times = psutil.Process(gateway.program.process.pid).cpu_times()
    return float(times.user + times.system)


def rss_mib(gateway: Gateway) -> float:
    return float(psutil.Process(gateway.program.process.pid).memory_info().rss) / 2**20


# case N12
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_all_members_register_at_the_successor_and_get_no_record_unasked(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    peers = [f"127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(start(tmp_path, name, peers, HECATE_GATEWAY_CLUSTER_PORT=str(port)))
            for name, port in zip(("one", "two"), ports, strict=True)
        ]
        leader = until(lambda: leader_of(gateways), "one supernode")
        assert leader is not None
        successor = next(each for each in gateways if each is not leader)
        before = rss_mib(leader)
        joining = stack.enter_context(members(peers, MEMBERS))
        until(lambda: registered(joining, leader) == MEMBERS, "all are registered", 90)
        assert rss_mib(leader) - before < 5 + MIB_PER_MEMBER * MEMBERS
        used = cpu_s(successor)
        leader.program.kill()
        killed_at = time.monotonic()
        until(lambda: registered(joining, successor) == MEMBERS, "all have moved", 90)
        took_s = time.monotonic() - killed_at
        assert cpu_s(successor) - used < 1 + CPU_S_PER_MEMBER * MEMBERS + 0.2 * took_s
        # nobody asked for records: only those of a cluster that is still small are given at once
        records = json.loads([ln for ln in joining.lines if ln.startswith("{")][-1])["records"]
        assert records <= 2 * 2 * ALL_AT_HAND**2
        # the list is there for whoever asks
        until(lambda: len(successor.call("GET", "/cluster/v1")["members"]) == MEMBERS + 1, "", 30)
        leader.start()
        assert leader_of(gateways) in (None, successor)
