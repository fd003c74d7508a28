"""mID's side of device authorisation (RFC 8628): a person types the code of a node."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from cloud.errors import ProblemError
from cloud.guard import bearer_of, require_caller
from cloud.identity.device_page import HEADERS, render_form, render_result
from cloud.identity.oidc import ProviderUnreachableError
from cloud.parts import Parts, PartsOf
from cloud.tokens.access import ASSOCIATE
from protocol.errors import TokenError

router = APIRouter(prefix="/mid/v1", tags=["mID: identity"])


class Saying(BaseModel):
    """A person's answer to a node that shows a code, and the proof of who they are."""

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


@router.get("/device", summary="The page to type a node's code", response_class=HTMLResponse)
async def show_form(
    parts: PartsOf, user_code: Annotated[str, Query(max_length=32)] = ""
) -> HTMLResponse:
    """Return a form for a person's browser."""
    page = render_form(user_code, development=parts.sign_in.development is not None)
    return HTMLResponse(page, headers=HEADERS)


@router.post("/device", summary="Let a node join one's account", response_model=Decision)
async def decide(request: Request, parts: PartsOf, said: Annotated[Saying, Form()]) -> Response:
    """Note what the owner of an account says to a node that shows a code.

    The person is known by an access token with edge:account:associate, or by an ID token.
    """
    wants_page = "text/html" in request.headers.get("accept", "")
    try:
        decision = await _decide(request, parts, said)
    except ProblemError as exc:
        if not wants_page:
            raise
        page = render_result("That did not work", exc.detail)
        return HTMLResponse(page, exc.status, headers={**HEADERS, **exc.headers})
    if not wants_page:
        return JSONResponse(decision.model_dump())
    what = "may join your account now" if decision.allowed else "is refused"
    text = f"The node {decision.node_name} ({decision.node_id[:12]}…) {what}."
    return HTMLResponse(render_result("Done", text), headers=HEADERS)


async def _decide(request: Request, parts: Parts, said: Saying) -> Decision:
    if bearer_of(request):
        account_id = await _of_access_token(request, parts)
    else:
        account_id = await _of_person(parts, said)
    grant = await parts.device_grants.decide(
        said.user_code, account_id, parts.clock(), allow=said.allow
    )
    return Decision(
        node_id=grant.node_id,
        node_name=grant.node_name,
        account_id=account_id,
        allowed=said.allow,
    )


async def _of_access_token(request: Request, parts: Parts) -> str:
    caller = await require_caller(parts, bearer_of(request))
    caller.require(ASSOCIATE)
    if caller.is_node:
        raise ProblemError(HTTPStatus.FORBIDDEN, "cannot accept code: a node owns no account")
    return caller.subject


async def _of_person(parts: Parts, said: Saying) -> str:
    now, development = parts.clock(), parts.sign_in.development
    id_token = said.id_token
    try:
        if not id_token and said.username and development is not None:
            id_token = development.log_in(said.username, said.password, now)
        if not id_token:
            raise TokenError("cannot accept code: sign in, by an access token or an ID token")  # noqa: TRY301
        return await parts.sign_in.account_of(id_token, now)
    except TokenError as exc:
        parts.metrics.tokens_refused.labels("mid").inc()
        raise ProblemError(HTTPStatus.UNAUTHORIZED, str(exc)) from exc
    except ProviderUnreachableError as exc:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, str(exc)) from exc
