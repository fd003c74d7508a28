"""Serves claim tokens."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.devices.admission import DeviceAdmission
from gateway.devices.joining.claims import CLAIM_LIMIT
from gateway.devices.joining.requests import CLIENT_ID_LIMIT, may_be_client_id
from gateway.http.body import read_body
from gateway.http.parameters import (
    InvalidValueError,
    check_range,
    read_integer,
    read_number,
)
from gateway.http.problems import Problem
from gateway.http.routes import COUNTS, ApiRoute, Operation, make_route
from gateway.sidecar.devices.fields import invalid, parse_fields, refuse_others
from web import SafeJsonResponse

TTL_LIMIT_S = 30 * 24 * 3600
USES_LIMIT = 1000
WHAT = "make claim token"

_CLAIM_REQUEST = {
    "properties": {
        "uses": {
            "type": "integer", "minimum": 1, "maximum": USES_LIMIT, "default": 1, "title": "Uses",
        },
        "ttl_s": {
            "type": "number", "exclusiveMinimum": 0, "maximum": TTL_LIMIT_S, "default": 3600,
            "title": "Ttl S",
        },
        "board": {
            "type": "string", "maxLength": CLIENT_ID_LIMIT, "default": "", "title": "Board",
        },
    },
    "additionalProperties": False,
    "type": "object",
    "title": "ClaimRequest",
    "description": "The number of uses, the lifetime, and the only board of a claim token.",
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


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """The number of uses, the lifetime, and the only board of a claim token."""

    uses: int = 1
    ttl_s: float = 3600.0
    board: str = ""


def claims_routes(guard: Guard, admission: DeviceAdmission) -> list[ApiRoute]:
    """Return the routes about claim tokens."""

    async def make_claim(request: Request, _caller: SidecarCaller) -> Response:
        asked = read_claim_request(await read_body(request))
        made = await admission.new_claim(asked.uses, asked.ttl_s, asked.board)
        if made is None:
            raise Problem(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"cannot {WHAT}: {CLAIM_LIMIT} are open; wait until some expire, "
                "or end all with `hecate devices unclaim`",
            )
        token, claim = made
        content = {"token": token.reveal(), "expires_at": claim.expires_at, "uses": claim.uses}
        return SafeJsonResponse(content, HTTPStatus.CREATED)

    async def end_claims(_request: Request, _caller: SidecarCaller) -> Response:
        return SafeJsonResponse({"ended": await admission.end_claims()})

    return [
        make_route("POST /devices/v1/claims", guard.manager, make_claim, _MAKE),
        make_route("DELETE /devices/v1/claims", guard.manager, end_claims, _END),
    ]


def read_claim_request(body: bytes) -> ClaimRequest:
    """Return the request in a JSON body, the defaults for an empty one; Problem 422 otherwise."""
    fields, default = parse_fields(body, WHAT), ClaimRequest()
    uses = _read_field(fields, "uses", default.uses, read_integer, USES_LIMIT, minimum=1)
    ttl_s = _read_field(fields, "ttl_s", default.ttl_s, read_number, TTL_LIMIT_S, above=0)
    refuse_others(fields, ("uses", "ttl_s", "board"), WHAT)
    board = fields.get("board", "")
    if not isinstance(board, str) or (board and not may_be_client_id(board)):
        raise invalid(WHAT, "board: Input should be the id of a board")
    return ClaimRequest(uses, ttl_s, board)


def _read_field(
    fields: dict[str, Any], name: str, default: Any, read: Any, maximum: int, **bound: int
) -> Any:
    try:
        value = read(fields.get(name, default))
        check_range(value, maximum, **bound)
    except InvalidValueError as exc:
        raise invalid(WHAT, f"{name}: {exc}") from exc
    return value
