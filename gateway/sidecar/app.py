"""Builds the sidecar: one application for all the ways that requests come in."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from gateway import VERSION
from gateway.access.guard import Guard
from gateway.calls.other_nodes import OtherNodes
from gateway.cluster.cluster import Cluster
from gateway.devices.admission import DeviceAdmission
from gateway.devices.mip_index import mip_routes
from gateway.errors import BepError
from gateway.http.problems import Problem
from gateway.http.routes import ApiRoute, make_api, make_route
from gateway.node.record import Node
from gateway.sensors.decisions import SensorDecisions
from gateway.services import McmAccess, ServiceHost
from gateway.services.api.calls import ClientCheck
from gateway.sidecar import nodes
from gateway.sidecar.account import account_routes
from gateway.sidecar.beps import beps_routes
from gateway.sidecar.cluster import cluster_routes
from gateway.sidecar.devices import claims
from gateway.sidecar.devices.boards import boards_routes
from gateway.sidecar.devices.links import links_routes
from gateway.sidecar.devices.radio import radio_routes
from gateway.sidecar.devices.registry import registry_routes
from gateway.sidecar.devices.sensors import sensors_routes
from gateway.sidecar.elsewhere.node_calls import NodeCalls
from gateway.sidecar.elsewhere.node_images import NodeImages
from gateway.sidecar.health import health_routes, openapi_route
from gateway.sidecar.jsonrpc import JsonRpc, OpenOwnBep, RpcPorts, jsonrpc_routes
from gateway.sidecar.jsonrpc_socket import jsonrpc_socket_routes
from gateway.sidecar.microservices import Microservices
from gateway.sidecar.nodes import CloudLists, nodes_routes
from gateway.status import GatewayStatus
from protocol.codes import check_code
from protocol.errors import TokenError
from protocol.geo.position import Position
from settings.secret import Secret
from web.asgi import App

if TYPE_CHECKING:  # only a node with a cloud needs it in memory
    from gateway.links.device_links import DeviceLinks
    from gateway.node.membership import Membership
    from gateway.sidecar.rollouts import NodeRollouts
    from gateway.tunnel.grants import BepService


@dataclass(frozen=True, slots=True)
class CloudCalls:
    """The calls of the sidecar to the cloud."""

    associate: Callable[[Secret], Awaitable[str]]
    account_nodes: Callable[[], Awaitable[list[dict[str, Any]]]]
    near_nodes: Callable[[int], Awaitable[list[dict[str, Any]]]]  # within so many metres
    moved: Callable[[Position], None]
    beps: "BepService"
    membership: "Membership"
    url: str


@dataclass(frozen=True, slots=True)
class SidecarParts:
    """The parts that the sidecar serves; cloud is None when the node works on its own."""

    guard: Guard
    status: GatewayStatus
    node: Node
    cluster: Cluster
    admission: DeviceAdmission
    links: "DeviceLinks | None"
    sensors: SensorDecisions
    services: ServiceHost
    nodes: OtherNodes | None
    cloud: CloudCalls | None
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The whole API, and the part of it that visitors of BEPs reach."""

    api: App
    microservices: Microservices
    rollouts: "NodeRollouts | None"  # of a node with a cloud


def build_sidecar(parts: SidecarParts) -> Sidecar:
    """Return the application."""
    guard, cloud = parts.guard, parts.cloud
    microservices = Microservices(parts.services, cloud.beps if cloud else None, guard)
    images = NodeImages(parts.cluster, parts.services, parts.nodes)
    rollouts = None
    if cloud is not None and parts.nodes is not None:
        rollouts = _build_rollouts(parts, cloud, parts.nodes, images)
    routes = sidecar_routes(parts, images, rollouts)
    described = openapi_route(guard, lambda: describe_sidecar(routes))
    here = make_api([*routes, described], microservices)
    api = NodeCalls(parts.node.node_id, here, parts.nodes, guard)
    return Sidecar(api, microservices, rollouts)


def _build_rollouts(
    parts: SidecarParts, cloud: CloudCalls, nodes: OtherNodes, images: NodeImages
) -> "NodeRollouts":
    from gateway.sidecar.rollouts import CloudWays, NodeRollouts

    ways = CloudWays(cloud.account_nodes, nodes)
    return NodeRollouts(parts.node, parts.services, ways, images, parts.clock)


def sidecar_routes(
    parts: SidecarParts, images: NodeImages, rollouts: "NodeRollouts | None"
) -> list[ApiRoute]:
    """Return all routes but the one that describes them."""
    guard, cloud, access = parts.guard, parts.cloud, _mcm_access(parts)
    ports = RpcPorts(
        cloud.associate if cloud else None,
        cloud.membership.leave if cloud else None,
        _bep_opener(parts),
        cloud.moved if cloud else None,
    )
    rpc = JsonRpc(parts.node, parts.clock, images, ports)
    lists = CloudLists(cloud.account_nodes, cloud.near_nodes) if cloud else None
    return [
        *health_routes(parts.status, guard),
        *nodes_routes(guard, parts.node, parts.cluster, lists),
        *cluster_routes(
            guard, parts.node, parts.cluster, parts.nodes, lambda: parts.status.warnings()
        ),
        *jsonrpc_routes(guard, rpc),
        *jsonrpc_socket_routes(guard, rpc),
        *claims.claims_routes(guard, parts.admission),
        *boards_routes(guard, parts.admission),
        *registry_routes(guard, parts.admission, parts.status),
        *links_routes(guard, parts.links),
        *radio_routes(guard, parts.links.bluetooth if parts.links else None),
        *sensors_routes(guard, parts.sensors, parts.status),
        *mip_routes(),
        *beps_routes(guard, cloud.beps if cloud else None),
        *account_routes(guard, cloud.membership if cloud else None, cloud.url if cloud else ""),
        *parts.services.mcm_routes(guard.client_id, access),
        *(rollouts.routes(guard, access) if rollouts else [no_rollout_route(guard.client_id)]),
    ]


def _bep_opener(parts: SidecarParts) -> OpenOwnBep | None:
    """Return the function that opens a BEP to a container at its own request."""
    if parts.cloud is None:
        return None
    beps, services = parts.cloud.beps, parts.services

    async def open_bep(container_id: str, base: str, code: str) -> str:
        route = services.find(base)
        if route is None or (route.container_id, route.base) != (container_id, base):
            raise BepError(f"cannot open BEP: {base:.200} is not the path of {container_id}")
        if not route.bep:
            raise BepError(
                f"cannot open BEP to {base}: neither [http] bep of microservice.toml nor "
                "MCM.BEP_SUPPORT of its environment allows it"
            )
        return (await beps.request(code, base)).href

    return open_bep


def _mcm_access(parts: SidecarParts) -> McmAccess:
    guard, node = parts.guard, parts.node

    def check(code: str, operation: str) -> None:
        if not node.account.key:
            raise Problem(HTTPStatus.FORBIDDEN, "cannot accept code: this node is in no account")
        try:
            check_code(code, node.account.key, node.node_id, operation, parts.clock())
        except TokenError as exc:
            raise Problem(HTTPStatus.FORBIDDEN, str(exc)) from exc

    return McmAccess(guard.client_id, guard.named_client, check)


def no_rollout_route(check: ClientCheck) -> ApiRoute:
    """Return the route that explains why a node without a cloud rolls nothing out."""

    async def post_rollout(_request: Request, _client_id: str) -> Response:
        raise Problem(
            HTTPStatus.CONFLICT,
            "cannot roll out: this node has no cloud, through which it reaches others; set [cloud] "
            "url or HECATE_GATEWAY_CLOUD_URL",
        )

    return make_route("POST /mcm/v1/rollouts", check, post_rollout, None)


def describe_sidecar(routes: Iterable[ApiRoute]) -> dict[str, Any]:
    """Return the OpenAPI document."""
    from gateway.http.openapi import describe_api  # few gateways are asked for it

    info = {"title": "Hecate sidecar", "summary": "The local API of a gateway", "version": VERSION}
    return describe_api(info, routes, {**claims.SCHEMAS, **nodes.SCHEMAS})
