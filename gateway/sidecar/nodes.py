"""Serves discovery: the nodes of a cluster."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard
from gateway.cluster.cluster import Cluster
from gateway.errors import UplinkError
from gateway.http.parameters import QueryChoice
from gateway.http.problems import Problem
from gateway.http.routes import OBJECT, ApiRoute, Operation, make_route
from gateway.node.record import Node
from protocol.records import to_fields
from web import SafeJsonResponse


class Clusters(StrEnum):
    """The scope of a cluster."""

    LINK_LOCAL = "linkLocal"
    ACCOUNT = "account"


AccountNodes = Callable[[], Awaitable[list[dict[str, Any]]]]

SCHEMAS = {
    "Clusters": {
        "type": "string",
        "enum": [str(each) for each in Clusters],
        "title": "Clusters",
        "description": "The scope of a cluster.",
    }
}
_CLUSTERS = QueryChoice("clusters", Clusters.LINK_LOCAL)
_LIST = Operation(
    "mDS: discovery", "The nodes of a cluster", parameters=(_CLUSTERS,), answer=OBJECT
)


def nodes_routes(
    guard: Guard, node: Node, cluster: Cluster, account_nodes: AccountNodes | None
) -> list[ApiRoute]:
    """Return the discovery routes; account_nodes asks the cloud, if there is one."""

    async def list_nodes(request: Request, _caller: None) -> Response:
        clusters = _CLUSTERS.read(request)
        if clusters is Clusters.LINK_LOCAL:
            data = [to_fields(record) for record in await cluster.records()]
        elif account_nodes is None:
            data = [to_fields(node.record())]
        else:
            try:
                data = await account_nodes()
            except UplinkError as exc:
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE, str(exc), {"Retry-After": "5"}
                ) from exc
        return SafeJsonResponse({"type": str(clusters), "data": data})

    return [make_route("GET /mds/v1/nodes", guard.container_or_viewer, list_nodes, _LIST)]
