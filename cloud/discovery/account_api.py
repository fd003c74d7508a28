"""Serves what the nodes of an account share: its key, and credentials for its clusters."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from cloud.discovery.registry import NodeRegistry
from cloud.errors import ProblemError
from cloud.http.guard import AccessGuard
from cloud.tokens.access import CloudCaller
from protocol.ids import encode_base64url

SignCredential = Callable[[str, str, float], str]  # of a node id, an account id, and the time


class AccountCredentialAnswer(BaseModel):
    """A JWT that names the node and its account."""

    credential: str


class AccountKeyAnswer(BaseModel):
    """32 bytes, base64url: keys the codes for BEPs."""

    key: str


def build_router(
    registry: NodeRegistry,
    guard: AccessGuard,
    sign_credential: SignCredential,
    clock: Callable[[], float] = time.time,
) -> APIRouter:
    """Return the routes of mDS about the account of the calling node."""
    router = APIRouter(prefix="/mds/v1/account", tags=["mDS: discovery"])

    @router.get("/key", summary="The account's key", response_model=AccountKeyAnswer)
    async def show_account_key(
        caller: Annotated[CloudCaller, Depends(guard.require_node)],
    ) -> dict[str, str]:
        """Return the key shared by the nodes of the calling node's account."""
        return {"key": encode_base64url(await registry.account_key(caller))}

    @router.get(
        "/credential", summary="A credential for clusters", response_model=AccountCredentialAnswer
    )
    async def give_credential(
        caller: Annotated[CloudCaller, Depends(guard.require_node)],
    ) -> dict[str, str]:
        """Return what shows other nodes, for 30 days, that the calling node is of its account."""
        account_id = await registry.account_of(caller)
        if not account_id:
            raise ProblemError(
                HTTPStatus.CONFLICT, "cannot give credential: the node is not in an account"
            )
        return {"credential": sign_credential(caller.node_id, account_id, clock())}

    return router
