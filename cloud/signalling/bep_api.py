"""Serves mSS over HTTP: the sealing key, and BEPs."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from cloud.http.guard import AccessGuard
from cloud.metrics import Metrics
from cloud.signalling.placing import Placing, describe
from cloud.tokens.access import CloudCaller
from protocol.ids import BEP_ID, encode_base64url

RUN = "^[A-Za-z0-9_-]{0,64}$"


class SealingKeyAnswer(BaseModel):
    """A public key: ML-KEM-768 and X25519, base64url."""

    key: str


class BepRequest(BaseModel):
    """The request of a node for a BEP."""

    model_config = ConfigDict(extra="forbid")

    ttl_s: float | None = Field(None, description="Seconds until it expires; at most 24 h")
    run: str = Field(
        "",
        pattern=RUN,
        description="Names the node's process; BEPs of the node's other runs end",
    )


class RelayAnswer(BaseModel):
    """The relay where the node serves the BEP."""

    host: str
    port: int
    tls: bool = Field(False, description="Whether the node must use TLS there")


class BepAnswer(BaseModel):
    """One BEP. Knowing its URL is the right to visit it."""

    id: str
    url: str = Field(description="Where visitors go")
    relay: RelayAnswer
    expires_at: float


class GrantAnswer(BepAnswer):
    """A new BEP."""

    token: str = Field(description="Relay token: the node shows it to the relay")


class BepList(BaseModel):
    """A node's BEPs."""

    data: list[BepAnswer]


BepId = Annotated[str, Path(pattern=f"^{BEP_ID.pattern}$")]


def build_router(
    placing: Placing,
    sealing_public: bytes,
    guard: AccessGuard,
    metrics: Metrics,
    clock: Callable[[], float] = time.time,
) -> APIRouter:
    """Return the routes of mSS."""
    router = APIRouter(prefix="/mss/v1", tags=["mSS: signalling"])

    @router.get(
        "/sealing-key",
        summary="The key that nodes seal answers to",
        response_model=SealingKeyAnswer,
    )
    async def show_sealing_key() -> dict[str, str]:
        """Return mSS's public sealing key."""
        return {"key": encode_base64url(sealing_public)}

    @router.post(
        "/beps",
        status_code=201,
        summary="Ask for a BEP",
        response_model=GrantAnswer,
        response_model_exclude_unset=True,
    )
    async def make_bep(
        caller: Annotated[CloudCaller, Depends(guard.require_node)], asked: BepRequest | None = None
    ) -> dict[str, Any]:
        """Give the calling node a tunnel: a URL for visitors, a relay, the token to serve there."""
        ttl_s, run = (asked.ttl_s, asked.run) if asked else (None, "")
        grant = await placing.place(caller.node_id, ttl_s, run, clock())
        metrics.beps_placed.inc()
        return grant.answer()

    @router.get(
        "/beps",
        summary="The calling node's BEPs",
        response_model=BepList,
        response_model_exclude_unset=True,
    )
    async def list_beps(
        caller: Annotated[CloudCaller, Depends(guard.require_node)],
    ) -> dict[str, Any]:
        """Return the BEPs that have neither expired nor been deleted; without their tokens."""
        beps = await placing.beps_of(caller.node_id, clock())
        return {"data": [describe(bep) for bep in beps]}

    @router.delete("/beps", status_code=204, summary="End the calling node's BEPs")
    async def delete_beps(
        caller: Annotated[CloudCaller, Depends(guard.require_node)],
        keep_run: Annotated[str, Query(pattern=RUN, description="Keep those of this run")] = "",
    ) -> Response:
        """End all BEPs of the calling node, or all but those of one run, and cut their streams.

        A node calls it when it starts, to end the BEPs of its earlier run, and when it stops.
        """
        await placing.revoke_all(caller.node_id, clock(), keep_run)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @router.delete("/beps/{bep_id}", status_code=204, summary="End a BEP")
    async def delete_bep(
        caller: Annotated[CloudCaller, Depends(guard.require_node)], bep_id: BepId
    ) -> Response:
        """End a BEP of the calling node and cut its streams."""
        await placing.revoke(bep_id, caller.node_id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router
