"""Who may call: the access token of a request, checked before its handler runs."""

import logging
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cloud.errors import ProblemError
from cloud.parts import PartsOf
from cloud.tokens.access import NODE, Caller
from protocol.errors import TokenError

logger = logging.getLogger(__name__)

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="access token",
    description="From /mst/v1/oauth/token (nodes) or /mid/v1/token (persons)",
)


async def require_caller(
    parts: PartsOf,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Return whom the request's access token stands for; a 401 problem without a valid one."""
    if credentials is None:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "cannot allow this: needs an access token (Authorization: Bearer …)",
            {"WWW-Authenticate": "Bearer"},
        )
    try:
        return parts.issuer.verify(credentials.credentials, parts.clock())
    except TokenError as exc:
        parts.metrics.tokens_refused.labels("api").inc()
        logger.debug("refused an access token: %s", exc)
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED, str(exc), {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        ) from exc


def bearer_of(request: Request) -> HTTPAuthorizationCredentials | None:
    """Return the token that a request shows, for handlers that can do without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    return HTTPAuthorizationCredentials(scheme=scheme, credentials=token.strip())


async def require_node(caller: Annotated[Caller, Depends(require_caller)]) -> Caller:
    """Return the node whose own access token the request carries."""
    caller.require(NODE)
    caller.require_node(caller.subject)
    return caller


AnyCaller = Annotated[Caller, Depends(require_caller)]
NodeCaller = Annotated[Caller, Depends(require_node)]
