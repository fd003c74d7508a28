"""Serves the limits of the cloud's broker over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from cloud.http.guard import AccessGuard
from cloud.tokens.access import CloudCaller
from protocol.mqtt_limits import MqttLimits


class MqttLimitsAnswer(BaseModel):
    """Limits of one PUBLISH of a node, its whole topic included."""

    topic_levels: int
    topic_bytes: int
    packet_bytes: int
    denied: list[str]


def build_router(limits: MqttLimits, guard: AccessGuard) -> APIRouter:
    """Return the route that announces the limits."""
    router = APIRouter(prefix="/mss/v1", tags=["mSS: signalling"])

    @router.get(
        "/mqtt",
        summary="What does the broker take of a node?",
        response_model=MqttLimitsAnswer,
    )
    async def mqtt_limits(
        _caller: Annotated[CloudCaller, Depends(guard.require_caller)],
    ) -> MqttLimitsAnswer:
        """Return the limits; `denied` holds filters of topics below `nodes/<node id>/`."""
        return MqttLimitsAnswer(**limits.fields())

    return router
