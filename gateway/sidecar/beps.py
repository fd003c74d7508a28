"""BEPs: those that count for this node, and their end."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from gateway.access.guard import Guard
from gateway.errors import BepError
from gateway.http.problems import Problem
from protocol.ids import BEP_ID

if TYPE_CHECKING:  # what only a node with a cloud needs in memory
    from gateway.tunnel.grants import BepService

BepId = Annotated[str, Path(pattern=f"^{BEP_ID.pattern}$")]


def beps_router(guard: Guard, beps: "BepService | None") -> APIRouter:
    """Return the routes about BEPs; without a cloud there are none."""
    router = APIRouter(prefix="/beps/v1", tags=["BEPs"], dependencies=[Depends(guard.manager)])

    @router.get("/beps", summary="The BEPs of this node")
    async def list_beps() -> dict[str, Any]:
        """Return what is served here and what the cloud counts; problem says why not the latter."""
        rows, problem = await beps.list() if beps is not None else ([], "")
        return {"data": rows, "problem": problem}

    @router.delete("/beps/{bep_id}", status_code=204, summary="End a BEP")
    async def end_bep(bep_id: BepId) -> Response:
        """End a BEP, here and at the cloud, and cut its visitors."""
        try:
            ended = beps is not None and await beps.end(bep_id)
        except BepError as exc:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), {"Retry-After": "5"}) from exc
        if not ended:
            raise Problem(HTTPStatus.NOT_FOUND, "cannot end BEP: this node has none with this id")
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router
