"""Builds the ways to other nodes for app.py."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from gateway.calls.other_nodes import CallClient, OtherNodes
from gateway.calls.ways import Way
from gateway.cluster.cluster import Cluster

if TYPE_CHECKING:  # a node without a cloud does not load it
    from gateway.cloud_api.sep_calls import SepCalls

AccountNodes = Callable[[], Awaitable[list[dict[str, Any]]]]


def build_other_nodes(
    node_id: str,
    cluster: Cluster,
    cloud: "tuple[SepCalls, AccountNodes] | None",
    stack: AsyncExitStack,
) -> OtherNodes | None:
    """Return the ways to other nodes; None for a node that has neither cluster nor cloud."""
    clients: dict[Way, CallClient] = {}
    if cluster.network is not None:
        lan = cluster.network.build_calls(cluster.addresses_of)
        stack.push_async_callback(lan.close)
        clients[Way.LAN] = lan
    if cloud is not None:
        clients[Way.SEP] = cloud[0]
    if not clients:
        return None
    return OtherNodes(node_id, cluster, clients, cloud[1] if cloud is not None else None)
