"""Serves the sign-in of mID over HTTP."""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import BaseModel

from cloud.errors import ProblemError
from cloud.identity.oidc import ProviderUnreachableError
from cloud.identity.signin import SignIn, SignInRequest
from cloud.metrics import Metrics
from cloud.tokens.api import TokenAnswer
from protocol.errors import TokenError

logger = logging.getLogger(__name__)

GRANT_TYPE = "id_token_signin"


class LoginAnswer(BaseModel):
    """An OpenID Connect ID token of the development provider."""

    id_token: str


def build_router(
    sign_in: SignIn, metrics: Metrics, clock: Callable[[], float] = time.time
) -> APIRouter:
    """Return the route that signs persons in."""
    router = APIRouter(prefix="/mid/v1", tags=["mID: identity"])

    @router.post("/token", summary="Exchange an ID token", response_model=TokenAnswer)
    async def give_account_token(
        grant_type: Annotated[str, Form(description=GRANT_TYPE)],
        id_token: Annotated[
            str, Form(description="OpenID Connect ID token of a configured provider")
        ],
        edge_id_token: Annotated[
            str,
            Form(description="From a node's getEdgeIdToken: binds the access token to that node"),
        ] = "",
        scope: Annotated[
            str,
            Form(
                description="Of edge:mcm edge:clusters edge:account:associate "
                "edge:account:unassociate edge:read:accountkey edge:gps:update hec:data; "
                "default all"
            ),
        ] = "",
    ) -> dict[str, Any]:
        """Exchange a person's ID token for an access token of their account.

        The account is made at the first login.
        """
        if grant_type != GRANT_TYPE:
            raise ProblemError(
                HTTPStatus.BAD_REQUEST,
                f"cannot give token: grant_type must be {GRANT_TYPE}",
                error="unsupported_grant_type",
            )
        try:
            token = await sign_in.exchange(SignInRequest(id_token, edge_id_token, scope), clock())
        except TokenError as exc:
            metrics.tokens_refused.labels("mid").inc()
            logger.info("refused a sign-in: %s", exc)
            raise ProblemError(HTTPStatus.BAD_REQUEST, str(exc), error="invalid_grant") from exc
        except ProviderUnreachableError as exc:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, str(exc), error="temporarily_unavailable"
            ) from exc
        metrics.tokens_issued.labels("account").inc()
        return token.answer()

    return router


def build_development_router(
    sign_in: SignIn, metrics: Metrics, clock: Callable[[], float] = time.time
) -> APIRouter:
    """Return the route that logs the development user in."""
    router = APIRouter(prefix="/mid/v1/dev", tags=["mID: development only"])

    @router.post("/login", summary="Log in as the development user", response_model=LoginAnswer)
    async def log_in(
        username: Annotated[str, Form()], password: Annotated[str, Form()]
    ) -> dict[str, str]:
        """Return an ID token of the built-in development provider; not for production."""
        provider = sign_in.development
        if provider is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "cannot log in: [mid] development is off")
        try:
            return {"id_token": provider.log_in(username, password, clock())}
        except TokenError as exc:
            metrics.tokens_refused.labels("dev").inc()
            raise ProblemError(HTTPStatus.UNAUTHORIZED, str(exc)) from exc

    return router
