"""Serves the list of BEPs of this node, and ends them."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.errors import BepError
from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import OBJECT, ApiRoute, Operation, make_route
from protocol.ids import BEP_ID
from web import SafeJsonResponse

if TYPE_CHECKING:  # only a node with a cloud needs it in memory
    from gateway.tunnel.grants import BepService

_BEP_ID = PathText("bep_id", BEP_ID.pattern)
_LIST = Operation(
    "BEPs",
    "The BEPs of this node",
    "Return the BEPs served here and those that the cloud counts; problem says why the latter are "
    "missing.",
    answer=OBJECT,
)
_END = Operation(
    "BEPs",
    "End a BEP",
    "End a BEP, here and at the cloud, and cut its visitors.",
    parameters=(_BEP_ID,),
    status=HTTPStatus.NO_CONTENT,
)


def beps_routes(guard: Guard, beps: "BepService | None") -> list[ApiRoute]:
    """Return the routes about BEPs; without a cloud there are none."""

    async def list_beps(_request: Request, _caller: SidecarCaller) -> Response:
        rows, problem = await beps.list() if beps is not None else ([], "")
        return SafeJsonResponse({"data": rows, "problem": problem})

    async def end_bep(request: Request, _caller: SidecarCaller) -> Response:
        bep_id = _BEP_ID.read(request)
        try:
            ended = beps is not None and await beps.end(bep_id)
        except BepError as exc:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), {"Retry-After": "5"}) from exc
        if not ended:
            raise Problem(HTTPStatus.NOT_FOUND, "cannot end BEP: this node has none with this id")
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return [
        make_route("GET /beps/v1/beps", guard.manager, list_beps, _LIST),
        make_route("DELETE /beps/v1/beps/{bep_id}", guard.manager, end_bep, _END),
    ]
