"""Serves the links to devices without IP: list, and pause for a program that needs the port."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.http.parameters import InvalidValueError, check_range, read_number
from gateway.http.routes import OBJECT, ApiRoute, Operation, make_route
from gateway.sidecar.devices.fields import invalid, read_fields
from web import SafeJsonResponse

if TYPE_CHECKING:  # a gateway without links does not load it
    from gateway.links.device_links import DeviceLinks
    from gateway.links.links import LinkStatus

PAUSE_LIMIT_S = 600
PATH_LIMIT = 1024
_PAUSE = {
    "properties": {
        "path": {"type": "string", "maxLength": PATH_LIMIT, "title": "Path"},
        "seconds": {"type": "number", "minimum": 0, "maximum": PAUSE_LIMIT_S, "title": "Seconds"},
    },
    "required": ["path", "seconds"],
    "additionalProperties": False,
    "type": "object",
    "title": "LinkPause",
    "description": "The port that another program needs, and for how long; 0 ends the pause.",
}
_LIST_LINKS = Operation("devices", "The links to devices without IP", answer=OBJECT)
_PAUSE_LINK = Operation(
    "devices",
    "Give a port to another program for a while",
    "`found` is false when no link of this gateway uses the port.",
    body=("application/json", _PAUSE),
    answer=OBJECT,
)


def links_routes(guard: Guard, links: "DeviceLinks | None") -> list[ApiRoute]:
    """Return the routes about links."""

    async def list_links(_request: Request, _caller: SidecarCaller) -> Response:
        found = links.status() if links is not None else []
        return SafeJsonResponse({"data": [_describe(each) for each in found]})

    async def pause_link(request: Request, _caller: SidecarCaller) -> Response:
        what = "pause link"
        fields = await read_fields(request, ("path", "seconds"), what)
        path = fields.get("path")
        if not isinstance(path, str) or not 0 < len(path) <= PATH_LIMIT or "\0" in path:
            raise invalid(what, "path: Input should be the path of a port")
        try:
            seconds = read_number(fields.get("seconds"))
            check_range(seconds, maximum=PAUSE_LIMIT_S, minimum=0)
        except InvalidValueError as exc:
            raise invalid(what, f"seconds: {exc}") from exc
        found = links is not None and await links.pause(Path(path), seconds)
        return SafeJsonResponse({"found": found})

    return [
        make_route("GET /devices/v1/links", guard.manager, list_links, _LIST_LINKS),
        make_route("POST /devices/v1/links/pause", guard.manager, pause_link, _PAUSE_LINK),
    ]


def _describe(link: "LinkStatus") -> dict[str, object]:
    return {
        "name": link.name,
        "state": link.state,
        "device_id": link.device_id or None,
        "joining": link.is_joining,
        "problem": link.problem or None,
        "counters": asdict(link.counters),
    }
