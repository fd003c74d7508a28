"""Serves the account of this node: shows it, joins one by a code, leaves it."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.errors import AccountError
from gateway.http.problems import Problem
from gateway.http.routes import OBJECT, TEXTS, ApiRoute, Operation, make_route
from web import SafeJsonResponse

if TYPE_CHECKING:  # only a node with a cloud needs it in memory
    from gateway.node.membership import Membership

_SHOW = Operation(
    "account",
    "The account, and the code that is shown",
    "Return the account; join is the code to type, error the reason why the last one failed.",
    answer=OBJECT,
)
_JOIN = Operation(
    "account",
    "Show a code that lets this node join",
    "Return a code; the person who types it at the cloud makes this node a member of their "
    "account.\n\n"
    "A code that is still good is returned again.",
    status=HTTPStatus.ACCEPTED,
    answer=OBJECT,
)
_CANCEL = Operation("account", "Withdraw the code", status=HTTPStatus.NO_CONTENT)
_LEAVE = Operation(
    "account",
    "Leave the account",
    "Leave the account, and end the BEPs that its members opened; return which it was.",
    answer=TEXTS,
)


class _AccountCalls:
    """The handlers; membership is None without a cloud."""

    def __init__(self, membership: "Membership | None", cloud_url: str) -> None:
        self._membership, self._cloud_url = membership, cloud_url

    async def show_account(self, _request: Request, _caller: SidecarCaller) -> Response:
        return self._show(HTTPStatus.OK)

    async def join(self, _request: Request, _caller: SidecarCaller) -> Response:
        if self._membership is None:
            raise _no_cloud("join")
        try:
            await self._membership.join()
        except AccountError as exc:
            raise Problem(HTTPStatus.CONFLICT, str(exc)) from exc
        return self._show(HTTPStatus.ACCEPTED)

    async def cancel(self, _request: Request, _caller: SidecarCaller) -> Response:
        if self._membership is not None:
            await self._membership.cancel()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def leave(self, _request: Request, _caller: SidecarCaller) -> Response:
        if self._membership is None:
            raise _no_cloud("leave")
        try:
            return SafeJsonResponse({"left": await self._membership.leave()})
        except AccountError as exc:
            raise Problem(HTTPStatus.CONFLICT, str(exc)) from exc

    def _show(self, status: HTTPStatus) -> Response:
        content: dict[str, Any] = {"accountId": "", "join": None, "error": ""}
        if self._membership is not None:
            content = self._membership.status()
        return SafeJsonResponse({**content, "cloud": self._cloud_url}, status)


def account_routes(guard: Guard, membership: "Membership | None", cloud_url: str) -> list[ApiRoute]:
    """Return the routes about the account; without a cloud there is none."""
    calls = _AccountCalls(membership, cloud_url)
    return [
        make_route("GET /account/v1", guard.associator, calls.show_account, _SHOW),
        make_route("POST /account/v1/join", guard.associator, calls.join, _JOIN),
        make_route("DELETE /account/v1/join", guard.associator, calls.cancel, _CANCEL),
        make_route("DELETE /account/v1", guard.associator, calls.leave, _LEAVE),
    ]


def _no_cloud(verb: str) -> Problem:
    return Problem(
        HTTPStatus.CONFLICT,
        f"cannot {verb} account: this node has no cloud; "
        "set [cloud] url or HECATE_GATEWAY_CLOUD_URL",
    )
