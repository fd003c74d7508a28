"""Names the way by which a request reached the sidecar; it decides the request's rights."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from gateway.addresses import is_loopback

KEY = "hecate.origin"  # in the ASGI scope, set by entries that are not the TCP port


class Origin(StrEnum):
    """Nearest first."""

    LOOPBACK = "loopback"
    CONTAINER = "container"  # one of this node
    NETWORK = "network"
    NODE = "node"  # another node of the cluster, over its link
    SEP = "sep"
    BEP = "bep"


def origin_of(scope: Mapping[str, Any]) -> Origin:
    """Return how a request came in; network when nothing else is certain."""
    if KEY in scope:
        return Origin(scope[KEY])
    client = scope.get("client")
    return Origin.LOOPBACK if client and is_loopback(client[0]) else Origin.NETWORK


def may_visit(expose: str, *, bep: bool, origin: Origin) -> bool:
    """Return whether a microservice answers requests that came in this way.

    expose = "node" keeps it to this machine; over a BEP it also has to offer one.
    """
    if origin in (Origin.LOOPBACK, Origin.CONTAINER):
        return True
    if expose != "public":
        return False
    return bep or origin is not Origin.BEP
