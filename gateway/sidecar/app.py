"""The sidecar: one FastAPI application for all the ways that requests come in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from gateway import VERSION
from gateway.access.guard import Guard
from gateway.cluster.members import Cluster
from gateway.devices.admission import DeviceAdmission
from gateway.http.problems import add_problem_handlers
from gateway.node.record import Node
from gateway.services import ServiceHost
from gateway.sidecar.account import account_router
from gateway.sidecar.beps import beps_router
from gateway.sidecar.devices import devices_router
from gateway.sidecar.health import health_router, openapi_router
from gateway.sidecar.jsonrpc import JsonRpc, jsonrpc_router
from gateway.sidecar.microservices import Microservices
from gateway.sidecar.nodes import nodes_router
from gateway.status import GatewayStatus
from settings.secret import Secret
from web import SafeJsonResponse

if TYPE_CHECKING:  # what only a node with a cloud needs in memory
    from gateway.node.membership import Membership
    from gateway.tunnel.grants import BepService


@dataclass(frozen=True, slots=True)
class CloudCalls:
    """The calls of the sidecar to the cloud."""

    associate: Callable[[Secret], Awaitable[str]]
    account_nodes: Callable[[], Awaitable[list[dict[str, Any]]]]
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
    services: ServiceHost
    cloud: CloudCalls | None
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The whole API, and the part of it that visitors of BEPs reach."""

    api: FastAPI
    microservices: Microservices


def build_sidecar(parts: SidecarParts) -> Sidecar:
    """Return the application."""
    app = FastAPI(
        title="Hecate sidecar",
        summary="The local API of a gateway",
        version=VERSION,
        openapi_url=None,  # ours needs no key on loopback only
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=SafeJsonResponse,
    )
    add_problem_handlers(app)
    guard, cloud = parts.guard, parts.cloud
    account_nodes = cloud.account_nodes if cloud else None
    rpc = JsonRpc(parts.node, cloud.associate if cloud else None, parts.clock)
    app.include_router(health_router(parts.status, guard))
    app.include_router(nodes_router(guard, parts.node, parts.cluster, account_nodes))
    app.include_router(jsonrpc_router(guard, rpc))
    app.include_router(devices_router(guard, parts.admission, parts.status))
    app.include_router(beps_router(guard, cloud.beps if cloud else None))
    membership = cloud.membership if cloud else None
    app.include_router(account_router(guard, membership, cloud.url if cloud else ""))
    app.include_router(parts.services.mcm_router(guard.client_id))
    app.include_router(openapi_router(app, guard))
    microservices = Microservices(parts.services, cloud.beps if cloud else None, guard)
    app.router.default = microservices
    return Sidecar(app, microservices)
