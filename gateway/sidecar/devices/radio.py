"""Serves the Bluetooth radio: its state, and the bonds that the owner gives up."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import OBJECT, ApiRoute, Operation, make_route
from web import SafeJsonResponse

if TYPE_CHECKING:  # a gateway without [bluetooth] does not load it
    from gateway.links.ble.bluetooth import Bluetooth

_ADDRESS = PathText("address", r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_SHOW_RADIO = Operation(
    "devices",
    "The Bluetooth radio: adapter, scanner, links, and the devices that wait for one",
    answer=OBJECT,
)
_FORGET_BOND = Operation(
    "devices",
    "Remove the bond with a device",
    "The device at the address can connect without it, and has to prove its key as ever.",
    parameters=(_ADDRESS,),
    status=HTTPStatus.NO_CONTENT,
)
DISABLED = {"enabled": False}


def radio_routes(guard: Guard, host: "Bluetooth | None") -> list[ApiRoute]:
    """Return the routes about the radio."""

    async def show_radio(_request: Request, _caller: SidecarCaller) -> Response:
        return SafeJsonResponse(host.describe() if host is not None else DISABLED)

    async def forget_bond(request: Request, _caller: SidecarCaller) -> Response:
        address = _ADDRESS.read(request).upper()
        if host is None:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"cannot forget {address}: Bluetooth is not enabled, set [bluetooth] enabled",
            )
        fault = await host.forget_bond(address)
        if fault:
            raise Problem(HTTPStatus.CONFLICT, f"cannot forget {address}: {fault}")
        return Response(status_code=HTTPStatus.NO_CONTENT)

    one = "/devices/v1/radio/bonds/{address}"
    return [
        make_route("GET /devices/v1/radio", guard.manager, show_radio, _SHOW_RADIO),
        make_route(f"DELETE {one}", guard.manager, forget_bond, _FORGET_BOND),
    ]
