"""Measures calls from node to node, take-overs after a kill, and the way back to the cloud."""

import contextlib
import time
from contextlib import ExitStack

import httpx

from benchmarks.cluster.figures import ClusterSize, Samples
from benchmarks.cluster.nodes import (
    role_since,
    scratch,
    start_gateways,
    until_settled,
    wait_for,
)
from tests.system import Cloud, Gateway, start_cloud

TRY_S = 0.02


def measure_take_over(size: ClusterSize) -> Samples:
    """Return the times of take-overs, and of the SEP after them, in milliseconds."""
    led: list[float] = []
    followed: list[float] = []
    reached: list[float] = []
    with scratch("cluster") as folder, ExitStack() as stack:
        cloud = start_cloud(folder / "cloud")
        stack.enter_context(cloud.program)
        gateways: list[Gateway] = [*start_gateways(stack, folder, 3, **cloud.environ())]
        for _ in range(size.rounds):
            leader = until_settled(gateways)
            _wait_reached(cloud, gateways, time.monotonic())
            rest = [each for each in gateways if each is not leader]
            killed_at = time.monotonic()
            leader.program.kill()
            took_at = wait_for(lambda: _first(rest, killed_at), "take-over")  # noqa: B023
            first = next(g for g in rest if role_since(g, "supernode", "", killed_at) is not None)
            (other,) = [each for each in rest if each is not first]
            follows_at = wait_for(
                lambda: role_since(other, "member", first.node_id, killed_at),  # noqa: B023
                "member",
            )
            led.append(1000 * (took_at - killed_at))
            followed.append(1000 * (follows_at - killed_at))
            reached.append(1000 * _wait_reached(cloud, rest, took_at))
            leader.start()
    return {
        "new supernode after kill: ms": led,
        "all follow after kill: ms": followed,
        "SEP back after take-over: ms": reached,
    }


def measure_calls(size: ClusterSize) -> Samples:
    """Return the times of calls to another node in milliseconds."""
    with scratch("calls") as folder, ExitStack() as stack:
        one, other = start_gateways(stack, folder, 2)
        until_settled([one, other])
        headers = {"Authorization": f"Bearer {one.key}"}
        client = stack.enter_context(
            httpx.Client(base_url=one.url, headers=headers, trust_env=False)
        )
        path = f"/nodes/{other.node_id}/healthz"
        direct: list[float] = []
        own: list[float] = []
        for number in range(size.calls + 20):
            for target, times in ((path, direct), ("/healthz", own)):
                began = time.perf_counter()
                client.get(target).raise_for_status()
                if number >= 20:  # the first ones connect
                    times.append(1000 * (time.perf_counter() - began))
    return {"direct call to another node: ms": direct, "the same to the own gateway: ms": own}


def _first(rest: list[Gateway], since: float) -> float | None:
    times = [role_since(each, "supernode", "", since) for each in rest]
    return min((each for each in times if each is not None), default=None)


def _wait_reached(cloud: Cloud, gateways: list[Gateway], since: float) -> float:
    """Return the seconds until the cloud has passed a request to each."""
    waiting = {each.node_id for each in gateways}

    def all_reached() -> float | None:
        for node_id in list(waiting):
            with contextlib.suppress(httpx.HTTPError):
                url = f"{cloud.url}/sep/{node_id}/healthz"
                if httpx.get(url, timeout=1.0, trust_env=False).status_code == httpx.codes.OK:
                    waiting.discard(node_id)
        if not waiting:
            return time.monotonic()
        time.sleep(TRY_S)
        return None

    return wait_for(all_reached, "answer through the cloud") - since
