"""Checks the access token of a request before its handler runs."""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cloud.errors import ProblemError
from cloud.metrics import Metrics
from cloud.tokens.access import NODE, CloudCaller
from cloud.tokens.issuer import Issuer
from protocol.errors import TokenError

logger = logging.getLogger(__name__)

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="access token",
    description="From /mst/v1/oauth/token (nodes) or /mid/v1/token (persons)",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


class AccessGuard:
    """Verifies access tokens; its methods are dependencies of request handlers."""

    def __init__(
        self, issuer: Issuer, metrics: Metrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuer, self._metrics, self._clock = issuer, metrics, clock

    async def require_caller(self, credentials: Credentials) -> CloudCaller:
        """Return the subject of the request's access token; a 401 problem without a valid one."""
        if credentials is None:
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                "cannot allow this: needs an access token (Authorization: Bearer …)",
                {"WWW-Authenticate": "Bearer"},
            )
        try:
            return self._issuer.verify(credentials.credentials, self._clock())
        except TokenError as exc:
            self._metrics.tokens_refused.labels("api").inc()
            logger.debug("refused an access token: %s", exc)
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                str(exc),
                {"WWW-Authenticate": 'Bearer error="invalid_token"'},
            ) from exc

    async def require_node(self, credentials: Credentials) -> CloudCaller:
        """Return the node whose own access token the request carries."""
        caller = await self.require_caller(credentials)
        caller.require(NODE)
        caller.require_node(caller.subject)
        return caller


def bearer_of(request: Request) -> HTTPAuthorizationCredentials | None:
    """Return the token of a request, for handlers that can do without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    return HTTPAuthorizationCredentials(scheme=scheme, credentials=token.strip())
