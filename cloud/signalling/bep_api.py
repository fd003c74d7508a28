"""mSS's HTTP side: the sealing key, and BEPs."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from cloud.guard import NodeCaller
from cloud.parts import PartsOf
from cloud.signalling.placing import describe
from protocol.ids import BEP_ID, encode_base64url

RUN = "^[A-Za-z0-9_-]{0,64}$"

router = APIRouter(prefix="/mss/v1", tags=["mSS: signalling"])


class SealingKeyAnswer(BaseModel):
    """A public key: ML-KEM-768 and X25519, base64url."""

    key: str


class BepRequest(BaseModel):
    """What a node may ask of a BEP."""

    model_config = ConfigDict(extra="forbid")

    ttl_s: float | None = Field(None, description="Seconds until it expires; at most 24 h")
    run: str = Field(
        "",
        pattern=RUN,
        description="Names the node's process; BEPs of the node's other runs end",
    )


class RelayAnswer(BaseModel):
    """Where the node serves the BEP."""

    host: str
    port: int


class BepAnswer(BaseModel):
    """One BEP. Whoever knows the URL may visit it."""

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


@router.get(
    "/sealing-key",
    summary="The key that nodes seal answers to",
    response_model=SealingKeyAnswer,
)
async def show_sealing_key(parts: PartsOf) -> dict[str, str]:
    """Return mSS's public sealing key."""
    return {"key": encode_base64url(parts.keyring.sealing.public)}


@router.post("/beps", status_code=201, summary="Ask for a BEP", response_model=GrantAnswer)
async def make_bep(
    parts: PartsOf, caller: NodeCaller, wish: BepRequest | None = None
) -> dict[str, Any]:
    """Give the calling node a tunnel: a URL for visitors, a relay and the token to serve there."""
    ttl_s, run = (wish.ttl_s, wish.run) if wish else (None, "")
    grant = await parts.placing.place(caller.node_id, ttl_s, run, parts.clock())
    parts.metrics.beps_placed.inc()
    return grant.answer()


@router.get("/beps", summary="The calling node's BEPs", response_model=BepList)
async def list_beps(parts: PartsOf, caller: NodeCaller) -> dict[str, Any]:
    """Return the BEPs that have neither expired nor been deleted; without their tokens."""
    return {"data": [describe(b) for b in parts.store.beps_of(caller.node_id, parts.clock())]}


@router.delete("/beps", status_code=204, summary="End the calling node's BEPs")
async def delete_beps(
    parts: PartsOf,
    caller: NodeCaller,
    keep_run: Annotated[str, Query(pattern=RUN, description="Keep those of this run")] = "",
) -> Response:
    """End all BEPs of the calling node, or all but those of one run, and cut their streams.

    A node calls it when it starts, to give back what its earlier run left, and when it stops.
    """
    await parts.placing.revoke_all(caller.node_id, parts.clock(), keep_run)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.delete("/beps/{bep_id}", status_code=204, summary="End a BEP")
async def delete_bep(parts: PartsOf, caller: NodeCaller, bep_id: BepId) -> Response:
    """End a BEP of the calling node and cut its streams."""
    await parts.placing.revoke(bep_id, caller.node_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
