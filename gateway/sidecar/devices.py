"""Devices: claim tokens, what is known of each, revocation."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.access.guard import Guard
from gateway.devices.admission import DeviceAdmission
from gateway.devices.claims import CLAIM_LIMIT
from gateway.http.problems import Problem
from gateway.sidecar.body import read_body
from gateway.status import GatewayStatus
from protocol.ids import DEVICE_ID
from web import JsonError, parse_json

TTL_LIMIT_S = 30 * 24 * 3600
USES_LIMIT = 1000


class ClaimWish(BaseModel):
    """The number of uses and the lifetime of a claim token."""

    model_config = ConfigDict(extra="forbid")

    uses: int = Field(default=1, ge=1, le=USES_LIMIT)
    ttl_s: float = Field(default=3600, gt=0, le=TTL_LIMIT_S)


class ClaimAnswer(BaseModel):
    """A new claim token; it is shown this once."""

    token: str
    expires_at: float
    uses: int


_CLAIM_BODY = {
    "requestBody": {"content": {"application/json": {"schema": ClaimWish.model_json_schema()}}}
}

DeviceId = Annotated[str, Path(pattern=f"^{DEVICE_ID.pattern}$")]


def devices_router(guard: Guard, admission: DeviceAdmission, status: GatewayStatus) -> APIRouter:
    """Return the routes about devices."""
    router = APIRouter(
        prefix="/devices/v1", tags=["devices"], dependencies=[Depends(guard.manager)]
    )

    @router.post(
        "/claims",
        status_code=201,
        summary="Make a claim token",
        response_model=ClaimAnswer,
        openapi_extra=_CLAIM_BODY,
    )
    async def make_claim(request: Request) -> dict[str, Any]:
        wish = _read_wish(await read_body(request))
        made = await admission.new_claim(wish.uses, wish.ttl_s)
        if made is None:
            raise Problem(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"cannot make claim token: {CLAIM_LIMIT} are open; wait until some expire, "
                "or end all with `hecate devices unclaim`",
            )
        token, claim = made
        return {"token": token.reveal(), "expires_at": claim.expires_at, "uses": claim.uses}

    @router.delete("/claims", summary="End all claim tokens")
    async def end_claims() -> dict[str, int]:
        """Make all claim tokens void; devices that have joined stay."""
        return {"ended": await admission.end_claims()}

    @router.get("/devices", summary="The devices that joined")
    async def list_devices() -> dict[str, Any]:
        return {"data": status.devices()}

    @router.delete("/devices/{device_id}", status_code=204, summary="Revoke a device")
    async def revoke(device_id: DeviceId) -> Response:
        """Take the device's rights and cut its connection."""
        if not await admission.revoke(device_id):
            raise Problem(HTTPStatus.NOT_FOUND, f"cannot revoke {device_id}: no such device")
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


def _read_wish(body: bytes) -> ClaimWish:
    try:
        return ClaimWish.model_validate(parse_json(body)) if body.strip() else ClaimWish()
    except JsonError as exc:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"cannot make claim token: body: {exc}"
        ) from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"cannot make claim token: {where}: {first['msg']}",
        ) from exc
