"""Is it alive, is it ready, how is it, in numbers."""

from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from gateway.sidecar.guard import Guard
from gateway.status import Status


def health_router(status: Status, guard: Guard) -> APIRouter:
    """Return the routes about the gateway itself."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="Are broker, SEP and containers up?")
    async def readyz(request: Request) -> Response:
        reasons = status.reasons()
        if not reasons:
            return JSONResponse({"status": "ready"})
        answer: dict[str, Any] = {"status": "starting"}
        if await guard.is_on_loopback_or_viewer(request):  # names and exit codes of containers
            answer["reasons"] = reasons
        return JSONResponse(answer, 503)

    @router.get(
        "/status/v1", summary="One snapshot of everything", dependencies=[Depends(guard.manager)]
    )
    async def snapshot() -> dict[str, Any]:
        return status.snapshot()

    @router.get(
        "/metrics",
        summary="Counters for Prometheus",
        dependencies=[Depends(guard.on_loopback_or_viewer)],
    )
    async def metrics() -> Response:
        from gateway.sidecar.metrics import CONTENT_TYPE, render  # not every gateway is scraped

        return Response(render(status.snapshot()), media_type=CONTENT_TYPE)

    return router


def openapi_router(app: FastAPI, guard: Guard) -> APIRouter:
    """Return the route that describes the others."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/openapi.json",
        summary="This API",
        include_in_schema=False,
        dependencies=[Depends(guard.on_loopback_or_viewer)],
    )
    async def openapi() -> dict[str, Any]:
        return app.openapi()

    return router
