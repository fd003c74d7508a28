"""Tells nodes over HTTP what the cloud's broker takes."""

from fastapi import APIRouter
from pydantic import BaseModel

from cloud.guard import AnyCaller
from cloud.parts import PartsOf

router = APIRouter(prefix="/mss/v1", tags=["mSS: signalling"])


class MqttLimitsAnswer(BaseModel):
    """Limits of one PUBLISH of a node, its whole topic included."""

    topic_levels: int
    topic_bytes: int
    packet_bytes: int
    denied: list[str]


@router.get(
    "/mqtt",
    summary="What does the broker take of a node?",
    response_model=MqttLimitsAnswer,
)
async def mqtt_limits(parts: PartsOf, caller: AnyCaller) -> MqttLimitsAnswer:  # noqa: ARG001  # must have a token
    """Return the limits; `denied` holds filters of topics below `nodes/<node id>/`."""
    return MqttLimitsAnswer(**parts.mqtt_limits.fields())
