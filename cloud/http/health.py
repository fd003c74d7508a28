"""Serves health to everyone; the reasons of bad health, and metrics, to operators."""

import hmac
import ipaddress
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from cloud.errors import ProblemError
from cloud.health import Health
from cloud.metrics import Metrics
from settings.secret import Secret

# Headers that proxies add: a request through a proxy on this machine is not of this machine.
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


class StatusAnswer(BaseModel):
    """All is well."""

    status: str


def build_router(health: Health, metrics: Metrics, token: Secret) -> APIRouter:
    """Return the routes of health and metrics; an operator shows the token, if there is one."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Does the process live?", response_model=StatusAnswer)
    async def healthz() -> dict[str, str]:
        """Return 200 as long as requests are served."""
        return {"status": "ok"}

    @router.get("/readyz", summary="Can it do its work?", response_model=StatusAnswer)
    async def readyz(request: Request) -> dict[str, str]:
        """Return 200 when store and broker work; else 503, to operators with the reasons."""
        reasons = await health.reasons()
        if reasons and not _is_operator(request, token):
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "cannot serve: not ready")
        if reasons:
            why = "cannot serve: " + "; ".join(reasons)
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, why, reasons=reasons)
        return {"status": "ready"}

    @router.get(
        "/metrics", name="metrics", summary="Numbers for Prometheus", response_class=Response
    )
    async def show_metrics(request: Request) -> Response:
        """Return all counters in Prometheus' text format, on this machine or for the token."""
        if not _is_operator(request, token):
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                "cannot show metrics: needs Authorization: Bearer <[metrics] token>",
                {"WWW-Authenticate": "Bearer"},
            )
        return Response(await metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router


def _is_operator(request: Request, secret: Secret) -> bool:
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    token = secret.reveal().encode()
    if token and scheme.lower() == "bearer":
        return hmac.compare_digest(shown.strip().encode(), token)
    return _is_on_this_machine(request)


def _is_on_this_machine(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
