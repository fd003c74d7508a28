"""Health and numbers over HTTP, open to all."""

from http import HTTPStatus

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from cloud.errors import ProblemError
from cloud.parts import PartsOf

router = APIRouter(tags=["health"])


class StatusAnswer(BaseModel):
    """All is well."""

    status: str


@router.get("/healthz", summary="Does the process live?", response_model=StatusAnswer)
async def healthz() -> dict[str, str]:
    """Return 200 as long as requests are served."""
    return {"status": "ok"}


@router.get("/readyz", summary="Can it do its work?", response_model=StatusAnswer)
async def readyz(parts: PartsOf) -> dict[str, str]:
    """Return 200 when store, broker and relay are up; else 503 with the reasons."""
    reasons = parts.health.reasons()
    if reasons:
        why = "cannot serve: " + "; ".join(reasons)
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, why, reasons=reasons)
    return {"status": "ready"}


@router.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
async def metrics(parts: PartsOf) -> Response:
    """Return all counters in Prometheus' text format."""
    return Response(generate_latest(parts.metrics.registry), media_type=CONTENT_TYPE_LATEST)
