"""Serves the devices of the registry: list, show, rename, group, rotate, revoke, forget."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.devices.admission import DeviceAdmission
from gateway.devices.joining.requests import GROUP_LIMIT, GROUPS_LIMIT, NAME_LIMIT
from gateway.devices.record import DeviceRecord
from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import OBJECT, ApiRoute, Operation, make_route
from gateway.sidecar.devices.fields import invalid, read_fields, read_groups, read_name
from gateway.status import GatewayStatus
from protocol.ids import DEVICE_ID
from web import SafeJsonResponse

_DEVICE_ID = PathText("device_id", DEVICE_ID.pattern)
_CHANGE_REQUEST = {
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT, "title": "Name"},
        "groups": {
            "type": "array", "maxItems": GROUPS_LIMIT, "title": "Groups",
            "items": {"type": "string", "maxLength": GROUP_LIMIT},
        },
    },
    "additionalProperties": False,
    "type": "object",
    "title": "DeviceChange",
    "description": "The new name or groups of a device.",
}  # fmt: skip
_LIST = Operation("devices", "The devices that joined", answer=OBJECT)
_SHOW = Operation("devices", "One device", parameters=(_DEVICE_ID,), answer=OBJECT)
_CHANGE = Operation(
    "devices",
    "Rename or group a device",
    "The rights that groups give follow at once.",
    parameters=(_DEVICE_ID,),
    body=("application/json", _CHANGE_REQUEST),
    answer=OBJECT,
)
_ROTATE = Operation(
    "devices",
    "Give a device a new token",
    "The old token ends when the device has used the new one once. A device that is away gets its "
    "new token when it comes back.",
    parameters=(_DEVICE_ID,),
    status=HTTPStatus.ACCEPTED,
    answer=OBJECT,
)
_REVOKE = Operation(
    "devices",
    "Revoke a device",
    "Take the device's rights and cut its connection. It stays in the list.",
    parameters=(_DEVICE_ID,),
    status=HTTPStatus.NO_CONTENT,
)
_FORGET = Operation(
    "devices",
    "Forget a device",
    "Take the device's rights, cut its connection, and remove it from the list.",
    parameters=(_DEVICE_ID,),
    status=HTTPStatus.NO_CONTENT,
)


@dataclass(frozen=True, slots=True)
class RegistryApi:
    """The operations on devices of the registry."""

    admission: DeviceAdmission
    status: GatewayStatus

    async def list_devices(self, _request: Request, _caller: SidecarCaller) -> Response:
        """Answer with all devices."""
        return SafeJsonResponse({"data": self.status.devices()})

    async def show_device(self, request: Request, _caller: SidecarCaller) -> Response:
        """Answer with one device."""
        return self._shown(self._find(request, "show"))

    async def change_device(self, request: Request, _caller: SidecarCaller) -> Response:
        """Rename or group a device."""
        what = "change device"
        device = self._find(request, what)
        fields = await read_fields(request, ("name", "groups"), what)
        name, groups = read_name(fields, what), read_groups(fields, what)
        if name is None and groups is None:
            raise invalid(what, "neither name nor groups")
        if name is not None:
            await self.admission.rename(device, name)
        if groups is not None:
            await self.admission.regroup(device, groups)
        return self._shown(device)

    async def rotate_token(self, request: Request, _caller: SidecarCaller) -> Response:
        """Give a device a new token."""
        device = self._find(request, "rotate")
        if device.is_revoked:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"cannot rotate {device.device_id}: it is revoked; it may join again with a claim "
                "token or by approval",
            )
        if not device.has_credentials:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"cannot rotate {device.device_id}: it does not log in, so it has no token",
            )
        is_sent = await self.admission.rotate(device)
        content = {"id": device.device_id, "is_sent": is_sent}
        return SafeJsonResponse(content, HTTPStatus.ACCEPTED)

    async def revoke_device(self, request: Request, _caller: SidecarCaller) -> Response:
        """Revoke a device."""
        await self.admission.revoke(self._find(request, "revoke").device_id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def forget_device(self, request: Request, _caller: SidecarCaller) -> Response:
        """Forget a device."""
        await self.admission.forget(self._find(request, "forget").device_id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _find(self, request: Request, what: str) -> DeviceRecord:
        device_id = _DEVICE_ID.read(request)
        device = self.admission.registry.get(device_id)
        if device is None:
            why = f"cannot {what} {device_id}: no such device"
            raise Problem(HTTPStatus.NOT_FOUND, why)
        return device

    def _shown(self, device: DeviceRecord) -> SafeJsonResponse:
        return SafeJsonResponse(self.status.device(device))


def registry_routes(
    guard: Guard, admission: DeviceAdmission, status: GatewayStatus
) -> list[ApiRoute]:
    """Return the routes about devices of the registry."""
    api, one = RegistryApi(admission, status), "/devices/v1/devices/{device_id}"
    return [
        make_route("GET /devices/v1/devices", guard.manager, api.list_devices, _LIST),
        make_route(f"GET {one}", guard.manager, api.show_device, _SHOW),
        make_route(f"PATCH {one}", guard.manager, api.change_device, _CHANGE),
        make_route(f"POST {one}/rotate", guard.manager, api.rotate_token, _ROTATE),
        make_route(f"POST {one}/revoke", guard.manager, api.revoke_device, _REVOKE),
        make_route(f"DELETE {one}", guard.manager, api.forget_device, _FORGET),
    ]
