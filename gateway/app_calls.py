"""Builds the ways to other nodes, and the targets of requests of containers, for app.py."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any

from broker import Broker
from gateway.calls.other_nodes import CallClient, OtherNodes
from gateway.calls.ways import Way
from gateway.cluster.cluster import Cluster
from gateway.config import SidecarSettings
from gateway.errors import CallNotSent
from gateway.http.calls import NodeAnswer, NodeCall
from gateway.node.record import Node
from gateway.services.egress.dialer import is_own_address
from gateway.services.egress.ports import EgressTargets
from gateway.services.egress.targets import OwnNames
from gateway.sidecar.app import Sidecar
from gateway.sidecar.names import own_names

if TYPE_CHECKING:  # a node without a cloud does not load it
    from gateway.cloud_api.bep_calls import BepCalls
    from gateway.cloud_api.sep_calls import SepCalls
    from gateway.cluster.calls.client import LanCalls
    from gateway.cluster.network import ClusterNetwork

AccountNodes = Callable[[], Awaitable[list[dict[str, Any]]]]


class LanWay:
    """The way over the network of the cluster, while this node takes part in one."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._network: ClusterNetwork | None = None
        self._calls: LanCalls | None = None

    def open(self, node_id: str, call: NodeCall) -> AbstractAsyncContextManager[NodeAnswer]:
        """Yield the answer; CallNotSent or UplinkLost when there is none."""
        network = self._cluster.network
        if network is None:
            raise CallNotSent("no connection on this network: this node is in no cluster")
        if self._calls is None or network is not self._network:
            self._network = network
            self._calls = network.build_calls(self._cluster.addresses_of)
        return self._calls.open(node_id, call)

    async def close(self) -> None:
        """Close the idle connections."""
        if self._calls is not None:
            await self._calls.close()


def build_other_nodes(
    node_id: str,
    cluster: Cluster,
    cloud: "tuple[SepCalls, BepCalls, AccountNodes] | None",
    stack: AsyncExitStack,
) -> OtherNodes | None:
    """Return the ways to other nodes; None for a node that has neither cluster nor cloud."""
    clients: dict[Way, CallClient] = {}
    if cluster.may_take_part:
        lan = LanWay(cluster)
        stack.push_async_callback(lan.close)
        clients[Way.LAN] = lan
    if cloud is not None:
        clients[Way.SEP], clients[Way.BEP] = cloud[:2]
    if not clients:
        return None
    return OtherNodes(node_id, cluster, clients, cloud[2] if cloud is not None else None)


def build_egress_targets(
    node: Node,
    settings: SidecarSettings,
    broker: Broker,
    sidecar: Sidecar,
    nodes: OtherNodes | None,
) -> EgressTargets:
    """Return the targets of requests of containers."""

    def api_ports() -> frozenset[int]:
        return frozenset({node.api.port} if node.api is not None else ())

    def closed_ports() -> frozenset[int]:
        bound = [address for listener in broker.all_addresses for address in listener]
        return api_ports() | {each[1] for each in bound if isinstance(each, tuple)}

    return EgressTargets(
        api=sidecar.api,
        own=OwnNames(
            lambda: own_names(node.name, settings.host, settings.hosts), api_ports, is_own_address
        ),
        node_id=node.node_id,
        closed_ports=closed_ports,
        nodes=nodes,
    )
