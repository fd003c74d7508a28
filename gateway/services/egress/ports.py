"""Defines the parts of the gateway that requests of containers lead to."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from gateway.http.calls import NodeAnswer, NodeCall
from gateway.services.egress.targets import OwnNames
from protocol.records import NodeRecord
from web.asgi import App


class RemoteNodes(Protocol):
    """Reaches other nodes; the one place that decides which way a request takes to them."""

    async def find(self, matches: Callable[[NodeRecord], bool]) -> NodeRecord | None:
        """Return the nearest node of those that match; UplinkError when that is not known."""

    async def find_node(self, node_id: str) -> NodeRecord | None:
        """Return the record of a node; UplinkError when it is not known whether there is one."""

    def open(self, record: NodeRecord, call: NodeCall) -> AbstractAsyncContextManager[NodeAnswer]:
        """Yield a node's answer; UplinkError when there is none."""


@dataclass(frozen=True, slots=True)
class EgressTargets:
    """The targets of requests of containers.

    Attributes:
        api: the sidecar, with the microservices below it.
        own: the names of this gateway.
        node_id: of this node.
        closed_ports: returns the TCP ports of this gateway, which no manifest opens.
        nodes: other nodes; None when this gateway reaches none.
    """

    api: App
    own: OwnNames
    node_id: str
    closed_ports: Callable[[], frozenset[int]]
    nodes: RemoteNodes | None = None
