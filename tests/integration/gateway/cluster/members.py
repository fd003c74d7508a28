"""Starts clusters of real gateways on loopback, with a real cloud."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.integration.gateway.nodes import Node
from tests.ports import free_port
from tests.programs import until
from tests.system import Cloud, start_cloud


@contextmanager
def clouded_cluster(
    folder: Path,
    environs: Sequence[dict[str, str]],
    on_cloud: Callable[[Cloud], None] = lambda _: None,
) -> Iterator[tuple[Cloud, list[Node]]]:
    """Give a cloud and a node for each environment; the first node is the supernode."""
    ports = [free_port() for _ in environs]
    peers = ",".join(f"127.0.0.1:{port}" for port in ports)
    with ExitStack() as stack:
        cloud = start_cloud(folder / "cloud")
        stack.enter_context(cloud.program)
        on_cloud(cloud)
        nodes = []
        for number, (port, environ) in enumerate(zip(ports, environs, strict=True)):
            settings = {
                "HECATE_GATEWAY_CLUSTER_ADMIT": "secret",
                "HECATE_GATEWAY_CLUSTER_SECRET": "a secret of the cluster",
                "HECATE_GATEWAY_CLUSTER_HOST": "127.0.0.1",
                "HECATE_GATEWAY_CLUSTER_PORT": str(port),
                "HECATE_GATEWAY_CLUSTER_PEERS": peers,
                "HECATE_GATEWAY_CLUSTER_DISCOVERY": "false",
                "HECATE_GATEWAY_CLUSTER_CAPABILITY": str(900 - number),
                **environ,
            }
            nodes.append(stack.enter_context(Node(folder / f"n{number}", cloud, **settings)))
        until(lambda: holders(cloud, nodes) == {nodes[0].node_id}, "one holder of the SEP", 60)
        yield cloud, nodes


def ask(cloud: Cloud, node: Node, path: str = "/healthz", method: str = "GET") -> httpx.Response:
    """Send a request to a node through the cloud."""
    url = f"{cloud.url}/sep/{node.node_id}{path}"
    return httpx.request(method, url, trust_env=False, timeout=30)


def registered(cloud: Cloud, node: Node) -> dict[str, Any]:
    """Return the record of a node in the cloud."""
    answer = cloud.call("GET", f"/mds/v1/nodes/{node.node_id}", node.token)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def holders(cloud: Cloud, nodes: Sequence[Node]) -> set[str]:
    """Return the nodes through which the cloud reaches nodes."""
    return {str(registered(cloud, node)["sepHolderId"]) for node in nodes}
