"""Serves devices: claim tokens, the list of devices, revocation."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.devices.admission import DeviceAdmission
from gateway.devices.claims import CLAIM_LIMIT
from gateway.http.body import read_body
from gateway.http.parameters import (
    InvalidValueError,
    PathText,
    check_range,
    read_integer,
    read_number,
)
from gateway.http.problems import Problem
from gateway.http.routes import COUNTS, OBJECT, ApiRoute, Operation, make_route
from gateway.status import GatewayStatus
from protocol.ids import DEVICE_ID
from web import JsonError, SafeJsonResponse, parse_json

TTL_LIMIT_S = 30 * 24 * 3600
USES_LIMIT = 1000

_DEVICE_ID = PathText("device_id", DEVICE_ID.pattern)
_CLAIM_REQUEST = {
    "properties": {
        "uses": {
            "type": "integer", "minimum": 1, "maximum": USES_LIMIT, "default": 1, "title": "Uses",
        },
        "ttl_s": {
            "type": "number", "exclusiveMinimum": 0, "maximum": TTL_LIMIT_S, "default": 3600,
            "title": "Ttl S",
        },
    },
    "additionalProperties": False,
    "type": "object",
    "title": "ClaimWish",
    "description": "The number of uses and the lifetime of a claim token.",
}  # fmt: skip
_CLAIM_ANSWER = {
    "properties": {
        "token": {"type": "string", "title": "Token"},
        "expires_at": {"type": "number", "title": "Expires At"},
        "uses": {"type": "integer", "title": "Uses"},
    },
    "type": "object",
    "required": ["token", "expires_at", "uses"],
    "title": "ClaimAnswer",
    "description": "A new claim token; it is shown this once.",
}
SCHEMAS = {"ClaimAnswer": _CLAIM_ANSWER}
_MAKE = Operation(
    "devices",
    "Make a claim token",
    body=("application/json", _CLAIM_REQUEST),
    status=HTTPStatus.CREATED,
    answer={"$ref": "#/components/schemas/ClaimAnswer"},
)
_END = Operation(
    "devices",
    "End all claim tokens",
    "Make all claim tokens void; devices that have joined stay.",
    answer=COUNTS,
)
_LIST = Operation("devices", "The devices that joined", answer=OBJECT)
_REVOKE = Operation(
    "devices",
    "Revoke a device",
    "Take the device's rights and cut its connection.",
    parameters=(_DEVICE_ID,),
    status=HTTPStatus.NO_CONTENT,
)


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """The number of uses and the lifetime of a claim token."""

    uses: int = 1
    ttl_s: float = 3600.0


def devices_routes(
    guard: Guard, admission: DeviceAdmission, status: GatewayStatus
) -> list[ApiRoute]:
    """Return the routes about devices."""

    async def make_claim(request: Request, _caller: SidecarCaller) -> Response:
        asked = read_claim_request(await read_body(request))
        made = await admission.new_claim(asked.uses, asked.ttl_s)
        if made is None:
            raise Problem(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"cannot make claim token: {CLAIM_LIMIT} are open; wait until some expire, "
                "or end all with `hecate devices unclaim`",
            )
        token, claim = made
        content = {"token": token.reveal(), "expires_at": claim.expires_at, "uses": claim.uses}
        return SafeJsonResponse(content, HTTPStatus.CREATED)

    async def end_claims(_request: Request, _caller: SidecarCaller) -> Response:
        return SafeJsonResponse({"ended": await admission.end_claims()})

    async def list_devices(_request: Request, _caller: SidecarCaller) -> Response:
        return SafeJsonResponse({"data": status.devices()})

    async def revoke(request: Request, _caller: SidecarCaller) -> Response:
        device_id = _DEVICE_ID.read(request)
        if not await admission.revoke(device_id):
            raise Problem(HTTPStatus.NOT_FOUND, f"cannot revoke {device_id}: no such device")
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return [
        make_route("POST /devices/v1/claims", guard.manager, make_claim, _MAKE),
        make_route("DELETE /devices/v1/claims", guard.manager, end_claims, _END),
        make_route("GET /devices/v1/devices", guard.manager, list_devices, _LIST),
        make_route("DELETE /devices/v1/devices/{device_id}", guard.manager, revoke, _REVOKE),
    ]


def read_claim_request(body: bytes) -> ClaimRequest:
    """Return the request in a JSON body, the defaults for an empty one; Problem 422 otherwise."""
    if not body.strip():
        return ClaimRequest()
    try:
        fields = parse_json(body)
    except JsonError as exc:
        raise _invalid("body", str(exc)) from exc
    if not isinstance(fields, dict):
        raise _invalid("body", "Input should be an object")
    default = ClaimRequest()
    uses = _read_field(fields, "uses", default.uses, read_integer, USES_LIMIT, minimum=1)
    ttl_s = _read_field(fields, "ttl_s", default.ttl_s, read_number, TTL_LIMIT_S, above=0)
    for name in fields:
        if name not in ("uses", "ttl_s"):
            raise _invalid(name, "Extra inputs are not permitted")
    return ClaimRequest(uses, ttl_s)


def _read_field(
    fields: dict[str, Any], name: str, default: Any, read: Any, maximum: int, **bound: int
) -> Any:
    try:
        value = read(fields.get(name, default))
        check_range(value, maximum, **bound)
    except InvalidValueError as exc:
        raise _invalid(name, str(exc)) from exc
    return value


def _invalid(where: str, why: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"cannot make claim token: {where}: {why}")
