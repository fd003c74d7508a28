"""Serves mDS over HTTP."""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel

from cloud.discovery.ports import BrokerRights
from cloud.discovery.registry import NodeRegistry
from cloud.errors import ProblemError
from cloud.http.guard import AccessGuard
from cloud.metrics import Metrics
from cloud.signalling.placing import Placing
from cloud.tokens.access import CloudCaller
from protocol.errors import TokenError, WireError
from protocol.geo.position import FARTHEST_M, NEAR_M, Position, parse_position
from protocol.ids import NODE_ID
from protocol.records import open_registration, to_fields

logger = logging.getLogger(__name__)

RECORD_MEDIA_TYPE = "application/jwt"
SIGNED_RECORD = {
    "requestBody": {
        "required": True,
        "description": "The node record as a JWT that the node signed (aud node-record)",
        "content": {RECORD_MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


class NodeList(BaseModel):
    """The nodes of a cluster."""

    type: str
    data: list[dict[str, Any]]


class AccountAnswer(BaseModel):
    """The account a node belongs to."""

    accountId: str  # noqa: N815  # the API's spelling


NodeId = Annotated[str, Path(pattern=f"^{NODE_ID.pattern}$", description="56 hex digits")]


def build_router(
    registry: NodeRegistry,
    placing: Placing,
    broker: BrokerRights,
    guard: AccessGuard,
    metrics: Metrics,
    clock: Callable[[], float] = time.time,
) -> APIRouter:
    """Return the routes of mDS."""
    router = APIRouter(prefix="/mds/v1", tags=["mDS: discovery"])

    @router.post("/nodes", status_code=201, summary="Register a node", openapi_extra=SIGNED_RECORD)
    async def register(
        request: Request, caller: Annotated[CloudCaller, Depends(guard.require_node)]
    ) -> dict[str, Any]:
        """Store the calling node's signed record; return it with its account and SEP address."""
        now = clock()
        try:
            signed = (await request.body()).decode("ascii").strip()
            registration = open_registration(signed, now)
        except (TokenError, WireError, UnicodeDecodeError) as exc:
            logger.info("refused a record of node %s: %s", caller.node_id[:12], exc)
            why = "cannot read node record: not ASCII" if isinstance(exc, ValueError) else str(exc)
            raise ProblemError(HTTPStatus.BAD_REQUEST, why) from exc
        stored = await registry.register(caller, registration, now)
        metrics.registrations.inc()
        return to_fields(stored)

    @router.get("/nodes", summary="The nodes of a cluster", response_model=NodeList)
    async def list_nodes(
        caller: Annotated[CloudCaller, Depends(guard.require_caller)],
        clusters: Annotated[str, Query(description="account or proximity")] = "account",
        radius: Annotated[float, Query(ge=0, le=FARTHEST_M, description="Metres")] = NEAR_M,
        latitude: Annotated[str | None, Query(description="Degrees")] = None,
        longitude: Annotated[str | None, Query(description="Degrees")] = None,
    ) -> dict[str, Any]:
        """Return the nodes of the caller's account. Needs edge:clusters.

        For proximity: those within a radius of a position, which is that of the calling node unless
        one is given; the nearest first, with their distance in metres. A node's linkLocal cluster
        is answered by the node itself.
        """
        if clusters == "proximity":
            near = await registry.near_nodes(caller, _center(latitude, longitude), radius)
            data = [{**to_fields(node), "distance": round(metres, 1)} for metres, node in near]
            return {"type": clusters, "data": data}
        if clusters != "account":
            raise ProblemError(
                HTTPStatus.BAD_REQUEST,
                "cannot list nodes: clusters must be account or proximity; for linkLocal ask the "
                "gateway",
            )
        nodes = await registry.account_nodes(caller)
        return {"type": clusters, "data": [to_fields(node) for node in nodes]}

    @router.get("/nodes/{node_id}", summary="One node")
    async def show_node(
        caller: Annotated[CloudCaller, Depends(guard.require_caller)], node_id: NodeId
    ) -> dict[str, Any]:
        """Return a record of the caller's account, or the calling node's own."""
        return to_fields(await registry.visible(caller, node_id))

    @router.delete("/nodes/{node_id}", status_code=204, summary="Forget a node")
    async def remove_node(
        caller: Annotated[CloudCaller, Depends(guard.require_caller)], node_id: NodeId
    ) -> Response:
        """Delete a node, end its BEPs and cut its connection; it may register again."""
        await registry.remove(caller, node_id)
        await placing.revoke_all(node_id, clock())
        broker.remove_node(node_id)  # its retained messages are not for its next owner
        broker.apply_changed_rights()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @router.put(
        "/nodes/{node_id}/account", summary="Associate a node", response_model=AccountAnswer
    )
    async def associate(
        caller: Annotated[CloudCaller, Depends(guard.require_caller)], node_id: NodeId
    ) -> dict[str, str]:
        """Make a node a member of the caller's account; the token must be bound to the node."""
        account_id = await registry.associate(caller, node_id)
        broker.apply_changed_rights()
        return {"accountId": account_id}

    return router


def _center(latitude: str | None, longitude: str | None) -> Position | None:
    """Return the position that a caller gives, None for none."""
    if latitude is None and longitude is None:
        return None
    try:
        return parse_position(f"{latitude or ''},{longitude or ''}")
    except WireError as exc:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"cannot list nodes nearby: {exc}") from exc
