"""mDS's HTTP side."""

import logging
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from cloud.errors import ProblemError
from cloud.guard import AnyCaller, NodeCaller
from cloud.parts import PartsOf
from protocol.errors import TokenError, WireError
from protocol.ids import NODE_ID, encode_base64url
from protocol.records import open_registration, to_fields

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/mds/v1", tags=["mDS: discovery"])

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


class AccountKeyAnswer(BaseModel):
    """32 bytes, base64url: keys the codes for BEPs."""

    key: str


NodeId = Annotated[str, Path(pattern=f"^{NODE_ID.pattern}$", description="56 hex digits")]


@router.post("/nodes", status_code=201, summary="Register a node", openapi_extra=SIGNED_RECORD)
async def register(request: Request, parts: PartsOf, caller: NodeCaller) -> dict[str, Any]:
    """Store the calling node's signed record; return it with account and SEP address filled in."""
    now = parts.clock()
    try:
        signed = (await request.body()).decode("ascii").strip()
        record, membership = open_registration(signed, now)
    except (TokenError, WireError, UnicodeDecodeError) as exc:
        logger.info("refused a record of node %s: %s", caller.node_id[:12], exc)
        why = "cannot read node record: not ASCII" if isinstance(exc, ValueError) else str(exc)
        raise ProblemError(HTTPStatus.BAD_REQUEST, why) from exc
    stored = await parts.registry.register(caller, record, now, membership)
    parts.metrics.registrations.inc()
    return to_fields(stored)


@router.get("/nodes", summary="The nodes of a cluster", response_model=NodeList)
async def list_nodes(
    parts: PartsOf,
    caller: AnyCaller,
    clusters: Annotated[str, Query(description="account")] = "account",
) -> dict[str, Any]:
    """Return the nodes of the caller's account. Needs edge:clusters.

    A node's linkLocal cluster is answered by the node itself.
    """
    if clusters != "account":
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            "cannot list nodes: clusters must be account; for linkLocal ask the gateway",
        )
    nodes = parts.registry.account_nodes(caller)
    return {"type": clusters, "data": [to_fields(node) for node in nodes]}


@router.get("/nodes/{node_id}", summary="One node")
async def show_node(parts: PartsOf, caller: AnyCaller, node_id: NodeId) -> dict[str, Any]:
    """Return a record of the caller's account, or the calling node's own."""
    return to_fields(parts.registry.visible(caller, node_id))


@router.delete("/nodes/{node_id}", status_code=204, summary="Forget a node")
async def remove_node(parts: PartsOf, caller: AnyCaller, node_id: NodeId) -> Response:
    """Forget a node and its account, end its BEPs, cut its connection; it may register again."""
    await parts.registry.remove(caller, node_id)
    await parts.placing.revoke_all(node_id, parts.clock())
    parts.broker.revoke(node_id)  # what it left retained is not for its next owner
    parts.broker.rights_changed()
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.put("/nodes/{node_id}/account", summary="Associate a node", response_model=AccountAnswer)
async def associate(parts: PartsOf, caller: AnyCaller, node_id: NodeId) -> dict[str, str]:
    """Make a node a member of the caller's account; the token must be bound to the node."""
    account_id = await parts.registry.associate(caller, node_id)
    parts.broker.rights_changed()
    return {"accountId": account_id}


@router.get("/account/key", summary="The account's key", response_model=AccountKeyAnswer)
async def show_account_key(parts: PartsOf, caller: NodeCaller) -> dict[str, str]:
    """Return the key shared by the nodes of the calling node's account."""
    return {"key": encode_base64url(parts.registry.account_key(caller))}
