"""Health over HTTP, open to all; its reasons, and numbers, for those who run the cloud."""

import hmac
import ipaddress
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from cloud.errors import ProblemError
from cloud.parts import Parts, PartsOf

router = APIRouter(tags=["health"])

# What proxies add: who comes by way of one on this machine is not on this machine.
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


class StatusAnswer(BaseModel):
    """All is well."""

    status: str


@router.get("/healthz", summary="Does the process live?", response_model=StatusAnswer)
async def healthz() -> dict[str, str]:
    """Return 200 as long as requests are served."""
    return {"status": "ok"}


@router.get("/readyz", summary="Can it do its work?", response_model=StatusAnswer)
async def readyz(request: Request, parts: PartsOf) -> dict[str, str]:
    """Return 200 when store, broker and relay are up; else 503, to operators with the reasons."""
    reasons = parts.health.reasons()
    if reasons and not _is_operator(request, parts):
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "cannot serve: not ready")
    if reasons:
        why = "cannot serve: " + "; ".join(reasons)
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, why, reasons=reasons)
    return {"status": "ready"}


@router.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
async def metrics(request: Request, parts: PartsOf) -> Response:
    """Return all counters in Prometheus' text format, on this machine or for the token."""
    if not _is_operator(request, parts):
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "cannot show metrics: needs Authorization: Bearer <[metrics] token>",
            {"WWW-Authenticate": "Bearer"},
        )
    return Response(generate_latest(parts.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _is_operator(request: Request, parts: Parts) -> bool:
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    token = parts.config.metrics.token.reveal().encode()
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
