"""Serves the state of the cluster: roles, members, refused nodes, and the ways to a node."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard
from gateway.calls.other_nodes import OtherNodes
from gateway.calls.ways import NodeReach, find_routes
from gateway.cluster.cluster import Cluster
from gateway.errors import UplinkError
from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import OBJECT, ApiRoute, Operation, make_route
from gateway.node.record import Node
from protocol.ids import NODE_ID
from web import SafeJsonResponse

_NODE = PathText("nodeId", NODE_ID.pattern)
_STATE = Operation("Cluster", "The state of the cluster", answer=OBJECT)
_ROUTES = Operation("Cluster", "The ways to a node", parameters=(_NODE,), answer=OBJECT)


def cluster_routes(
    guard: Guard,
    node: Node,
    cluster: Cluster,
    nodes: OtherNodes | None,
    warnings: Callable[[], list[str]],
) -> list[ApiRoute]:
    """Return the routes; nodes is None when this node reaches no others."""

    async def get_cluster(_request: Request, _caller: object) -> Response:
        answer = await _describe(node.node_id, cluster)
        return SafeJsonResponse({**answer, "warnings": warnings()})

    async def get_routes(request: Request, _caller: object) -> Response:
        wanted = _NODE.read(request)
        routes = find_routes(NodeReach(is_self=wanted == node.node_id))
        if nodes is not None and not routes:
            try:
                known = await nodes.find_node(wanted)
            except UplinkError as exc:
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE, str(exc), {"Retry-After": "5"}
                ) from exc
            routes = nodes.routes(wanted) if known is not None else []
        data = [{"way": str(route.way), "why": route.why} for route in routes]
        return SafeJsonResponse({"nodeId": wanted, "data": data})

    return [
        make_route("GET /cluster/v1", guard.viewer, get_cluster, _STATE),
        make_route("GET /cluster/v1/routes/{nodeId}", guard.viewer, get_routes, _ROUTES),
    ]


async def _describe(node_id: str, cluster: Cluster) -> dict[str, Any]:
    members = [
        {
            "id": record.node_id,
            "name": record.name,
            "role": "supernode" if record.node_id == cluster.supernode_id else "member",
            "addresses": list(cluster.addresses_of(record.node_id)),
        }
        for record in await cluster.records()
    ]
    return {
        "id": node_id,
        "role": str(cluster.role),
        "epoch": cluster.epoch,
        "supernodeId": cluster.supernode_id,
        "sepHolderId": cluster.sep_holder_id,
        "successors": list(cluster.successors()),
        "members": members,
        "oneWay": cluster.one_way(),
        "refused": [
            {
                "id": each.node_id,
                "address": each.address,
                "reason": each.reason,
                "at": each.at,
                "times": each.times,
            }
            for each in cluster.refused()
        ],
        "callsServed": cluster.calls_served,
        "ways": cluster.way_counts(),
        "counters": cluster.counters(),
    }
