"""mST's HTTP side."""

import asyncio
import logging
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form
from pydantic import BaseModel

from cloud.errors import ProblemError
from cloud.parts import PartsOf
from cloud.tokens.access import NODE_SCOPES, grant_scopes
from cloud.tokens.assertion import read_assertion
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
    grant_type: Annotated[str, Form(description=GRANT_TYPE)],
    assertion: Annotated[
        str, Form(description="JWT that the node signed: iss = sub = node id, aud = mst; used once")
    ],
    scope: Annotated[str, Form(description="Default: all that nodes get")] = "",
) -> dict[str, Any]:
    """Exchange a JWT that the node signed with its own key (RFC 7523) for an access token.

    The node id is the hash of the key, so a node needs no earlier registration.
    """
    if grant_type != GRANT_TYPE:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"cannot give token: grant_type must be {GRANT_TYPE}",
            error="unsupported_grant_type",
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


@router.get("/jwks.json", summary="Keys that sign access tokens and relay tokens")
async def list_keys(parts: PartsOf) -> dict[str, Any]:
    """Return the JSON Web Key Set (RFC 7517) to verify the cloud's tokens with."""
    return dict(parts.issuer.published.as_dict(private=False))
