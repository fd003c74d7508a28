"""mST's HTTP side."""

import asyncio
import logging
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form
from pydantic import BaseModel

from cloud.errors import ProblemError
from cloud.parts import PartsOf
from cloud.tokens import device_code
from cloud.tokens.access import NODE_SCOPES, grant_scopes
from cloud.tokens.assertion import read_assertion, read_edge_identity
from protocol.errors import TokenError

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/mst/v1", tags=["mST: tokens"])

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class TokenAnswer(BaseModel):
    """An access token (RFC 6749, 5.1)."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    scope: str


@router.post("/oauth/token", summary="Give a node an access token", response_model=TokenAnswer)
async def give_node_token(
    parts: PartsOf,
    grant_type: Annotated[str, Form(description=f"{GRANT_TYPE} or {device_code.GRANT_TYPE}")],
    assertion: Annotated[
        str, Form(description="JWT that the node signed: iss = sub = node id, aud = mst; used once")
    ] = "",
    scope: Annotated[str, Form(description="Default: all that nodes get")] = "",
    code: Annotated[
        str, Form(alias="device_code", description="Of device authorisation (RFC 8628)")
    ] = "",
) -> dict[str, Any]:
    """Exchange a JWT that the node signed with its own key (RFC 7523) for an access token.

    The node id is the hash of the key, so a node needs no earlier registration. With the grant
    type of RFC 8628, exchange a device code for a token of the account whose owner typed its user
    code, bound to the node.
    """
    if grant_type == device_code.GRANT_TYPE:
        token = await parts.device_grants.take(code, parts.clock())
        parts.metrics.tokens_issued.labels("account").inc()
        return token.answer()
    if grant_type != GRANT_TYPE:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"cannot give token: grant_type must be {GRANT_TYPE} or {device_code.GRANT_TYPE}",
            error="unsupported_grant_type",
        )
    if not assertion:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "cannot give token: needs assertion", error="invalid_request"
        )
    granted = grant_scopes(scope, NODE_SCOPES)
    now = parts.clock()
    try:
        proof = read_assertion(assertion, now)
        if not await asyncio.to_thread(
            parts.store.use_once, proof.node_id, proof.jti, proof.expires_at
        ):
            raise TokenError("cannot accept assertion: used before")  # noqa: TRY301
    except TokenError as exc:
        parts.metrics.tokens_refused.labels("mst").inc()
        logger.info("refused a node's assertion: %s", exc)
        raise ProblemError(HTTPStatus.BAD_REQUEST, str(exc), error="invalid_grant") from exc
    parts.metrics.tokens_issued.labels("node").inc()
    logger.info("gave node %s an access token", proof.node_id[:12])
    return parts.issuer.for_node(proof.node_id, granted, now).answer()


class DeviceAuthorization(BaseModel):
    """Codes for a node and for its owner (RFC 8628, 3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


@router.post(
    "/oauth/device_authorization",
    summary="Ask for a code that lets a node join an account",
    response_model=DeviceAuthorization,
)
async def authorize_device(
    parts: PartsOf,
    edge_id_token: Annotated[str, Form(description="From the node's getEdgeIdToken: who it is")],
    scope: Annotated[str, Form(description="Default: edge:account:associate")] = "",
) -> dict[str, Any]:
    """Return a code for the node to show, and one to ask for the token with (RFC 8628)."""
    now = parts.clock()
    try:
        node = read_edge_identity(edge_id_token, now)
    except TokenError as exc:
        parts.metrics.tokens_refused.labels("mst").inc()
        raise ProblemError(HTTPStatus.BAD_REQUEST, str(exc), error="invalid_client") from exc
    return await parts.device_grants.begin(node, scope, now)


@router.get("/jwks.json", summary="Keys that sign access tokens and relay tokens")
async def list_keys(parts: PartsOf) -> dict[str, Any]:
    """Return the JSON Web Key Set (RFC 7517) to verify the cloud's tokens with."""
    return dict(parts.issuer.published.as_dict(private=False))
