"""Serves discovery: the nodes of a cluster."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard
from gateway.cluster.cluster import Cluster
from gateway.errors import CloudRefused, UplinkError
from gateway.http.parameters import QueryChoice, QueryInteger
from gateway.http.problems import Problem
from gateway.http.routes import OBJECT, ApiRoute, Operation, make_route
from gateway.node.record import Node
from protocol.geo.position import FARTHEST_M, NEAR_M
from protocol.records import to_fields
from web import SafeJsonResponse


class Clusters(StrEnum):
    """The scope of a cluster."""

    LINK_LOCAL = "linkLocal"
    ACCOUNT = "account"
    PROXIMITY = "proximity"


NodeList = Awaitable[list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class CloudLists:
    """The lists that the cloud answers."""

    of_account: Callable[[], NodeList]
    nearby: Callable[[int], NodeList]  # within so many metres


SCHEMAS = {
    "Clusters": {
        "type": "string",
        "enum": [str(each) for each in Clusters],
        "title": "Clusters",
        "description": "The scope of a cluster.",
    }
}
_CLUSTERS = QueryChoice("clusters", Clusters.LINK_LOCAL)
_RADIUS = QueryInteger("radius", NEAR_M, 1, int(FARTHEST_M))
_LIST = Operation(
    "mDS: discovery", "The nodes of a cluster", parameters=(_CLUSTERS, _RADIUS), answer=OBJECT
)


def nodes_routes(
    guard: Guard, node: Node, cluster: Cluster, cloud: CloudLists | None
) -> list[ApiRoute]:
    """Return the discovery routes; cloud is None for a node without one."""

    async def list_nodes(request: Request, _caller: None) -> Response:
        clusters, radius = _CLUSTERS.read(request), _RADIUS.read(request)
        if clusters is Clusters.LINK_LOCAL:
            data = [to_fields(record) for record in await cluster.records()]
        elif cloud is None:
            data = [to_fields(node.record())]
        else:
            data = await _ask(cloud, clusters, radius)
        return SafeJsonResponse({"type": str(clusters), "data": data})

    return [
        make_route("GET /mds/v1/nodes", guard.container_or_viewer, list_nodes, _LIST),
        # the spelling of older clients
        make_route("GET /mDS/v1/nodes", guard.container_or_viewer, list_nodes, None),
    ]


async def _ask(cloud: CloudLists, clusters: Clusters, radius: int) -> list[dict[str, Any]]:
    try:
        if clusters is Clusters.ACCOUNT:
            return await cloud.of_account()
        return await cloud.nearby(radius)
    except CloudRefused as exc:
        if clusters is Clusters.PROXIMITY:  # this node has no position
            raise Problem(HTTPStatus.CONFLICT, str(exc)) from exc
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), {"Retry-After": "5"}) from exc
    except UplinkError as exc:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), {"Retry-After": "5"}) from exc
