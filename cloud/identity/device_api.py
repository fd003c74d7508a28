"""Serves the page and the form where a person types the code of a node (RFC 8628)."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from cloud.errors import ProblemError
from cloud.http.guard import AccessGuard, bearer_of
from cloud.identity.device_page import HEADERS, render_form, render_result
from cloud.identity.oidc import ProviderUnreachableError
from cloud.identity.signin import SignIn
from cloud.metrics import Metrics
from cloud.tokens.access import ASSOCIATE
from cloud.tokens.device_grants import DeviceGrants
from protocol.errors import TokenError


class DecisionForm(BaseModel):
    """A person's decision about a node that shows a code, and the proof of their identity."""

    user_code: str = Field(max_length=32, description="The code that the node shows")
    allow: bool = Field(True, description="false: refuse it")
    id_token: str = Field("", description="Of a provider; or an access token as bearer")
    username: str = Field("", description="Development only")
    password: str = Field("", description="Development only")


class Decision(BaseModel):
    """The decision about a node."""

    node_id: str
    node_name: str
    account_id: str
    allowed: bool


class DeviceApproval:
    """Finds the account of a person, by access token or ID token, and records their decision."""

    def __init__(
        self,
        device_grants: DeviceGrants,
        sign_in: SignIn,
        guard: AccessGuard,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._device_grants, self._sign_in, self._guard = device_grants, sign_in, guard
        self._metrics, self._clock = metrics, clock

    @property
    def has_development_login(self) -> bool:
        """Return whether persons may use the development login."""
        return self._sign_in.development is not None

    async def decide(self, request: Request, form: DecisionForm) -> Decision:
        """Record the decision in a form; ProblemError when the person or the code is unknown."""
        if bearer_of(request):
            account_id = await self._account_of_token(request)
        else:
            account_id = await self._account_of_person(form)
        grant = await self._device_grants.decide(
            form.user_code, account_id, self._clock(), allow=form.allow
        )
        return Decision(
            node_id=grant.node_id,
            node_name=grant.node_name,
            account_id=account_id,
            allowed=form.allow,
        )

    async def _account_of_token(self, request: Request) -> str:
        caller = await self._guard.require_caller(bearer_of(request))
        caller.require(ASSOCIATE)
        if caller.is_node:
            raise ProblemError(HTTPStatus.FORBIDDEN, "cannot accept code: a node owns no account")
        return caller.subject

    async def _account_of_person(self, form: DecisionForm) -> str:
        now, development = self._clock(), self._sign_in.development
        id_token = form.id_token
        try:
            if not id_token and form.username and development is not None:
                id_token = development.log_in(form.username, form.password, now)
            if not id_token:
                raise TokenError("cannot accept code: sign in, by an access token or an ID token")  # noqa: TRY301
            return await self._sign_in.account_of(id_token, now)
        except TokenError as exc:
            self._metrics.tokens_refused.labels("mid").inc()
            raise ProblemError(HTTPStatus.UNAUTHORIZED, str(exc)) from exc
        except ProviderUnreachableError as exc:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, str(exc)) from exc


def build_router(approval: DeviceApproval) -> APIRouter:
    """Return the routes of the page."""
    router = APIRouter(prefix="/mid/v1", tags=["mID: identity"])

    @router.get("/device", summary="The page to type a node's code", response_class=HTMLResponse)
    async def show_form(
        user_code: Annotated[str, Query(max_length=32)] = "",
    ) -> HTMLResponse:
        """Return a form for a person's browser."""
        page = render_form(user_code, development=approval.has_development_login)
        return HTMLResponse(page, headers=HEADERS)

    @router.post("/device", summary="Let a node join one's account", response_model=Decision)
    async def decide(request: Request, form: Annotated[DecisionForm, Form()]) -> Response:
        """Record the decision of the owner of an account about a node that shows a code.

        The person is known by an access token with edge:account:associate, or by an ID token.
        """
        wants_page = "text/html" in request.headers.get("accept", "")
        try:
            decision = await approval.decide(request, form)
        except ProblemError as exc:
            if not wants_page:
                raise
            page = render_result("That did not work", exc.detail)
            return HTMLResponse(page, exc.status, headers={**HEADERS, **exc.headers})
        if not wants_page:
            return JSONResponse(decision.model_dump())
        outcome = "may join your account now" if decision.allowed else "is refused"
        text = f"The node {decision.node_name} ({decision.node_id[:12]}…) {outcome}."
        return HTMLResponse(render_result("Done", text), headers=HEADERS)

    return router
