"""Serves sensors that advertise: those that were heard, and the owner's decisions about them."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.devices.joining.requests import NAME_LIMIT
from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import OBJECT, ApiRoute, Operation, make_route
from gateway.sensors.decisions import SensorDecisions
from gateway.sensors.describe import describe_stranger
from gateway.sensors.errors import BindKeyError, SensorError, UnknownSensorError
from gateway.sensors.frames import ADDRESS, KEY_BYTES, parse_key
from gateway.sidecar.devices.fields import invalid, read_fields, read_name
from gateway.status import GatewayStatus
from protocol.ids import DEVICE_ID
from settings.secret import Secret
from web import SafeJsonResponse

_ADDRESS = PathText("address", f"(?i:{ADDRESS.pattern})")
_DEVICE_ID = PathText("device_id", DEVICE_ID.pattern)
_KEY = {
    "type": "string", "pattern": f"^[0-9A-Fa-f]{{{2 * KEY_BYTES}}}$", "title": "Key",
    "description": "The bind key in hexadecimal digits; it is never shown again.",
}  # fmt: skip
_APPROVAL = {
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT, "title": "Name"},
        "key": _KEY,
    },
    "additionalProperties": False,
    "type": "object",
    "title": "SensorApproval",
    "description": "A name instead of the sensor's own, and the bind key of one that encrypts.",
}
_KEY_CHANGE = {
    "properties": {"key": _KEY},
    "required": ["key"],
    "additionalProperties": False,
    "type": "object",
    "title": "KeyChange",
    "description": "The new bind key of a sensor.",
}
_LIST = Operation("devices", "The sensors that nobody has accepted", answer=OBJECT)
_APPROVE = Operation(
    "devices",
    "Accept a sensor as a device",
    "It must have been heard within the last hour.",
    parameters=(_ADDRESS,),
    body=("application/json", _APPROVAL),
    answer=OBJECT,
)
_CHANGE_KEY = Operation(
    "devices",
    "Change the bind key of a sensor",
    parameters=(_DEVICE_ID,),
    body=("application/json", _KEY_CHANGE),
    status=HTTPStatus.NO_CONTENT,
)
_RESUME = Operation(
    "devices",
    "Accept a sensor's counter that went back",
    "Frames count again if their counter is above the highest one since it went back.",
    parameters=(_DEVICE_ID,),
    status=HTTPStatus.NO_CONTENT,
)


@dataclass(frozen=True, slots=True)
class SensorsApi:
    """The operations on sensors that advertise."""

    decisions: SensorDecisions
    status: GatewayStatus

    async def list_sensors(self, _request: Request, _caller: SidecarCaller) -> Response:
        """Answer with the sensors that nobody has accepted."""
        hub = self.decisions.hub
        wall, monotonic = hub.clocks.wall(), hub.clocks.monotonic()
        strangers = hub.strangers.all(monotonic)
        data = [describe_stranger(stranger, wall, monotonic) for stranger in strangers]
        return SafeJsonResponse({"data": data, "frames": dict(hub.counts)})

    async def approve_sensor(self, request: Request, _caller: SidecarCaller) -> Response:
        """Accept a sensor."""
        what, address = "approve sensor", _ADDRESS.read(request).upper()
        fields = await read_fields(request, ("name", "key"), what)
        name, key = read_name(fields, what) or "", _read_key(fields, what)
        try:
            device = await self.decisions.approve(address, name, key)
        except SensorError as exc:
            raise _problem(exc) from exc
        return SafeJsonResponse(self.status.device(device))

    async def change_key(self, request: Request, _caller: SidecarCaller) -> Response:
        """Give a sensor another key."""
        what, device_id = "change key", _DEVICE_ID.read(request)
        key = _read_key(await read_fields(request, ("key",), what), what)
        if key is None:
            raise invalid(what, "no key")
        try:
            await self.decisions.change_key(device_id, key)
        except SensorError as exc:
            raise _problem(exc) from exc
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def resume_sensor(self, request: Request, _caller: SidecarCaller) -> Response:
        """Accept a counter that went back."""
        try:
            await self.decisions.resume(_DEVICE_ID.read(request))
        except SensorError as exc:
            raise _problem(exc) from exc
        return Response(status_code=HTTPStatus.NO_CONTENT)


def sensors_routes(
    guard: Guard, decisions: SensorDecisions, status: GatewayStatus
) -> list[ApiRoute]:
    """Return the routes about sensors that advertise."""
    api, one = SensorsApi(decisions, status), "/devices/v1/devices/{device_id}"
    approve = "POST /devices/v1/sensors/{address}/approve"
    return [
        make_route("GET /devices/v1/sensors", guard.manager, api.list_sensors, _LIST),
        make_route(approve, guard.manager, api.approve_sensor, _APPROVE),
        make_route(f"PUT {one}/key", guard.manager, api.change_key, _CHANGE_KEY),
        make_route(f"POST {one}/resume", guard.manager, api.resume_sensor, _RESUME),
    ]


def _read_key(fields: dict[str, Any], what: str) -> Secret | None:
    key = fields.get("key")
    if key is None:
        return None
    try:
        parse_key(key if isinstance(key, str) else "")
    except ValueError as exc:
        raise invalid(what, f"key: {exc}") from exc
    return Secret(str(key))


def _problem(exc: SensorError) -> Problem:
    if isinstance(exc, UnknownSensorError):
        return Problem(HTTPStatus.NOT_FOUND, str(exc))
    is_key = isinstance(exc, BindKeyError)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY if is_key else HTTPStatus.CONFLICT, str(exc))
