"""Measures clusters on hosts of a test network: discovery, loss of power, idle traffic."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.cluster.figures import ClusterSize, Samples
from benchmarks.cluster.nodes import SECRET, role_since, scratch, until_settled, wait_for
from benchmarks.errors import PeerError, UnableError
from tests.hosts.gateways import HostGateway, start_gateways
from tests.hosts.network import Host, Network, find_obstacle

SETTLE_S = 1.0  # of the successors, after a cluster has formed
DISCOVERY_S = 300.0


@contextmanager
def hosts(count: int, gateways: int) -> Iterator[tuple[Network, list[HostGateway]]]:
    """Give a network of hosts, with gateways on the first ones."""
    if why := find_obstacle():
        raise UnableError(f"cannot measure: {why}")
    with scratch("hosts") as folder, ExitStack() as stack:
        network = stack.enter_context(Network(count))
        yield network, start_gateways(stack, network.hosts[:gateways], folder)


def measure_discovery(size: ClusterSize) -> Samples:
    """Return the times to find the supernode by multicast, and to join it, in milliseconds."""
    with hosts(2, 1) as (network, _gateways):
        newcomer = network.hosts[1]
        command = newcomer.command(
            sys.executable, "-m", "benchmarks.cluster.members",
            "--discover", str(size.rounds), "--host", newcomer.address, "--secret", SECRET,
        )  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DISCOVERY_S, check=False
        )
        if done.returncode:
            raise PeerError(f"cannot measure discovery: {done.stderr[-300:]}")
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        "found by multicast: ms": [1000 * each["found_s"] for each in rounds],
        "joined: ms": [1000 * each["joined_s"] for each in rounds],
    }


def measure_power_loss(size: ClusterSize) -> Samples:
    """Return the times of take-overs after the cable of the supernode was pulled."""
    taken: list[float] = []
    with hosts(3, 3) as (_network, gateways):
        for _ in range(size.rounds):
            leader = until_settled(gateways)
            time.sleep(SETTLE_S)
            rest = [each for each in gateways if each is not leader]
            lost_at = time.monotonic()
            leader.host.link("down")  # type: ignore[attr-defined]  # it is one of these gateways
            taken.append(wait_for(lambda: _took_over(rest, lost_at), "take-over"))  # noqa: B023
            leader.host.link("up")  # type: ignore[attr-defined]
    return {"new supernode after power loss: ms": [1000 * each for each in taken]}


def measure_idle(size: ClusterSize) -> Samples:
    """Return the traffic of idle nodes in KiB and packets per minute."""
    found: dict[str, list[float]] = {}
    with hosts(3, 3) as (_network, gateways):
        leader = until_settled(gateways)
        time.sleep(5 * SETTLE_S)  # multicast DNS announces each node several times
        for _ in range(size.rounds):
            before = [_count(each.host) for each in gateways]
            time.sleep(size.window_s)
            for gateway, (count, packets) in zip(gateways, before, strict=True):
                now_count, now_packets = _count(gateway.host)
                role = "supernode of 3" if gateway is leader else "member of 3"
                per_minute = 60 / size.window_s
                for unit, value in (
                    ("KiB/min", (now_count - count) / 1024),
                    ("packets/min", now_packets - packets),
                ):
                    found.setdefault(f"{role}: {unit}", []).append(value * per_minute)
    return found


def _took_over(rest: list[HostGateway], since: float) -> float | None:
    times = [role_since(each, "supernode", "", since) for each in rest]
    first = min((each for each in times if each is not None), default=None)
    return None if first is None else first - since


def _count(host: Host) -> tuple[int, int]:
    """Return the bytes and packets of a host's interface, both ways."""
    text = subprocess.run(
        host.command("cat", "/proc/net/dev"), capture_output=True, text=True, check=True
    ).stdout
    (line,) = [each for each in text.splitlines() if each.strip().startswith(f"{host.interface}:")]
    fields = [int(each) for each in line.partition(":")[2].split()]
    return fields[0] + fields[8], fields[1] + fields[9]
