"""Describes how a node gets onto the network of its cluster, and when."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a node that stays alone does not load it
    import socket

    from gateway.cluster.network import ClusterNetwork, NetworkPorts


@dataclass(frozen=True, slots=True)
class ClusterEntry:
    """The functions that open the network.

    Attributes:
        is_entitled: whether this node has what admits it; without it no port is open.
        load: loads what the network needs; takes a while, so it may run in a thread.
        build: returns the network.
        listen: opens its port; ClusterError when that cannot be.
        closed: is called when the port is closed.
    """

    is_entitled: Callable[[], bool]
    load: Callable[[], None]
    build: "Callable[[NetworkPorts], ClusterNetwork]"
    listen: "Callable[[ClusterNetwork], socket.socket]"
    closed: Callable[[], None]
