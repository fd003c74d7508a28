"""Serves health, readiness, a snapshot of everything, metrics, and the description of the API."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.http.routes import ANY, OBJECT, TEXTS, ApiRoute, Operation, anyone, make_route
from gateway.status import GatewayStatus
from web import SafeJsonResponse

_HEALTH = Operation("health", "Is the process alive?", answer=TEXTS)
_READY = Operation("health", "Are broker, SEP and containers up?", answer=ANY)
_SNAPSHOT = Operation("health", "A snapshot of everything", answer=OBJECT)
_METRICS = Operation("health", "Counters for Prometheus", answer=ANY)


def health_routes(status: GatewayStatus, guard: Guard) -> list[ApiRoute]:
    """Return the routes about the gateway itself."""

    async def healthz(_request: Request, _caller: None) -> Response:
        return SafeJsonResponse({"status": "ok"})

    async def readyz(request: Request, _caller: None) -> Response:
        reasons, warnings = status.reasons(), status.warnings()
        answer: dict[str, Any] = {"status": "starting" if reasons else "ready"}
        if await guard.is_on_loopback_or_viewer(request):  # names, exit codes, dates
            answer |= {"cloud": cloud} if (cloud := status.cloud())["way"] else {}
            answer |= {"reasons": reasons} if reasons else {}
            answer |= {"warnings": warnings} if warnings else {}
        return SafeJsonResponse(answer, 503 if reasons else 200)

    async def snapshot(_request: Request, _caller: SidecarCaller) -> Response:
        return SafeJsonResponse(status.snapshot())

    async def metrics(_request: Request, _caller: None) -> Response:
        from gateway.sidecar.metrics import CONTENT_TYPE, render  # not every gateway is scraped

        text = render(status.snapshot(), status.samples())
        return Response(text, media_type=CONTENT_TYPE)

    return [
        make_route("GET /healthz", anyone, healthz, _HEALTH),
        make_route("GET /readyz", anyone, readyz, _READY),
        make_route("GET /status/v1", guard.manager, snapshot, _SNAPSHOT),
        make_route("GET /metrics", guard.on_loopback_or_viewer, metrics, _METRICS),
    ]


def openapi_route(guard: Guard, describe: Callable[[], dict[str, Any]]) -> ApiRoute:
    """Return the route that describes the others."""

    async def openapi(_request: Request, _caller: None) -> Response:
        return SafeJsonResponse(describe())

    return make_route("GET /openapi.json", guard.on_loopback_or_viewer, openapi, None)
