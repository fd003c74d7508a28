"""The account of this node: show it, join one by a code, leave it."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Response

from gateway.access.guard import Guard
from gateway.errors import AccountError
from gateway.http.problems import Problem

if TYPE_CHECKING:  # what only a node with a cloud needs in memory
    from gateway.node.membership import Membership


def account_router(guard: Guard, membership: "Membership | None", cloud_url: str) -> APIRouter:
    """Return the routes about the account; without a cloud there is none."""
    router = APIRouter(
        prefix="/account/v1", tags=["account"], dependencies=[Depends(guard.associator)]
    )

    @router.get("", summary="The account, and the code that is shown")
    async def show_account() -> dict[str, Any]:
        """Return the account; join is the code to type, error why the last one failed."""
        status = membership.status() if membership else {"accountId": "", "join": None, "error": ""}
        return {**status, "cloud": cloud_url}

    @router.post("/join", status_code=202, summary="Show a code that lets this node join")
    async def join() -> dict[str, Any]:
        """Return a code; whoever types it at the cloud makes this node a member of their account.

        A code that is still good is returned again.
        """
        if membership is None:
            raise _no_cloud("join")
        try:
            await membership.join()
        except AccountError as exc:
            raise Problem(HTTPStatus.CONFLICT, str(exc)) from exc
        return await show_account()

    @router.delete("/join", status_code=204, summary="Show the code no more")
    async def cancel() -> Response:
        if membership is not None:
            await membership.cancel()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @router.delete("", summary="Leave the account")
    async def leave() -> dict[str, str]:
        """Leave the account, and end the BEPs that its members opened; return which it was."""
        if membership is None:
            raise _no_cloud("leave")
        try:
            return {"left": await membership.leave()}
        except AccountError as exc:
            raise Problem(HTTPStatus.CONFLICT, str(exc)) from exc

    return router


def _no_cloud(verb: str) -> Problem:
    return Problem(
        HTTPStatus.CONFLICT,
        f"cannot {verb} account: this node has no cloud; "
        "set [cloud] url or HECATE_GATEWAY_CLOUD_URL",
    )
