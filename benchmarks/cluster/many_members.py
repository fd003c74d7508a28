"""Measures many members at one supernode: memory, and a take-over of all of them."""

import json
import re
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

import httpx

from benchmarks.cluster.figures import ClusterSize, Samples
from benchmarks.cluster.nodes import SECRET, scratch, start_gateways, until_settled
from benchmarks.measure import percentile
from benchmarks.services.processes import cpu_s, rss_mib
from tests.programs import Program
from tests.system import Gateway

SETTLE_S = 3.0
WAIT_S = 60.0
PROBE_S = 0.005


def measure_many_members(size: ClusterSize) -> Samples:
    """Return memory and processor time per member, and the times of a take-over."""
    found: dict[str, list[float]] = {}
    for _ in range(size.member_rounds):
        for metric, value in _measure_once(size.members).items():
            found.setdefault(metric, []).append(value)
    return found


def _measure_once(count: int) -> dict[str, float]:
    with scratch("members") as folder, ExitStack() as stack:
        gateways = start_gateways(stack, folder, 2)
        leader = until_settled(gateways)
        (other,) = [each for each in gateways if each is not leader]
        time.sleep(SETTLE_S)
        pid = leader.program.process.pid
        before = rss_mib(pid)
        members = stack.enter_context(_start_members(count, leader))
        _wait_registered(members, leader, count)
        time.sleep(SETTLE_S)
        used, began = cpu_s({pid}), time.monotonic()
        time.sleep(SETTLE_S)
        busy = 100 * (cpu_s({pid}) - used) / (time.monotonic() - began)
        memory = 1024 * (rss_mib(pid) - before) / count
        probe = stack.enter_context(_HttpProbe(other))
        killed_at = time.monotonic()
        leader.program.kill()
        _wait_registered(members, other, count)
        took_s = time.monotonic() - killed_at
        p99 = probe.percentile(99)
        leader.start()
    return {
        f"memory of the supernode per member, {count} members: KiB": memory,
        "processor time of the supernode: % of a core": busy,
        "all members registered after kill: s": took_s,
        "other clients meanwhile, p99: ms": p99,
    }


def _start_members(count: int, gateway: Gateway) -> Program:
    peers = gateway.environ["HECATE_GATEWAY_CLUSTER_PEERS"]
    command = (sys.executable, "-m", "benchmarks.cluster.members", "--secret", SECRET)
    return Program((*command, "--count", str(count), "--peers", peers))


def _wait_registered(members: Program, at: Gateway, count: int) -> None:
    line = members.wait_for(rf'^.*"{re.escape(at.node_id)}": {count}[,}}].*$', WAIT_S)[0]
    last: dict[str, Any] = json.loads(line)
    assert last["registered"][at.node_id] == count


class _HttpProbe:
    """Asks a gateway for its health again and again, in a thread."""

    def __init__(self, gateway: Gateway) -> None:
        self._url, self._times = gateway.url, list[float]()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def percentile(self, percent: float) -> float:
        """Return a percentile of the times so far in milliseconds."""
        return 1000 * percentile(sorted(self._times), percent)

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=30) as client:
            while not self._is_over.is_set():
                began = time.perf_counter()
                client.get("/healthz")
                self._times.append(time.perf_counter() - began)
                time.sleep(PROBE_S)

    def __enter__(self) -> "_HttpProbe":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
