"""Reads what the environment of a container (MCM.…) says about its runtime. Pure.

Images built for other runtimes bring no microservice.toml: whoever deploys one decides by its
environment which topics it reads and writes, and how long a request may take.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microservice.errors import ServiceError

TRIGGERS, PUBLISH = "MCM.MQTT_TRIGGERS", "MCM.MQTT_PUBLISH"
TIME_LIMIT = "MCM.MAX_EXECUTION_TIME_SEC"
MEMORY = "MCM.MAX_MEMORY_MIB"
WEBSOCKET = "MCM.WEBSOCKET_SUPPORT"
TIME_LIMIT_S = 30.0
TIME_LEAST_S = 0.1
MEMORY_LEAST_MIB = 4


@dataclass(frozen=True, slots=True)
class TopicTrigger:
    """A topic filter whose messages a container wants."""

    topic_filter: str
    qos: int = 1


@dataclass(frozen=True, slots=True)
class ScriptSettings:
    """The settings of one container."""

    triggers: tuple[TopicTrigger, ...] = ()
    publish: tuple[str, ...] = ()
    limit_s: float = TIME_LIMIT_S
    memory_mib: int = 128
    has_events: bool = False


def read_environment(env: Mapping[str, str], memory_mib: int) -> ScriptSettings:
    """Return the settings in an environment.

    Raises:
        ServiceError: one cannot be read; names it.
    """
    limit_s = _number(env, TIME_LIMIT, TIME_LIMIT_S, TIME_LEAST_S)
    memory = int(_number(env, MEMORY, memory_mib, MEMORY_LEAST_MIB))
    return ScriptSettings(
        triggers=read_triggers(env),
        publish=tuple(one.topic_filter for one in _filters(PUBLISH, env.get(PUBLISH, ""))),
        limit_s=min(limit_s, TIME_LIMIT_S),  # the gateway waits no longer for an answer
        memory_mib=min(memory, memory_mib),
        has_events=env.get(WEBSOCKET, "").strip().lower() == "true",
    )


def read_triggers(env: Mapping[str, str]) -> tuple[TopicTrigger, ...]:
    """Return the triggers in an environment: "a/+,b/#", or JSON with a qos for each."""
    return _filters(TRIGGERS, env.get(TRIGGERS, ""))


def read_publish(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the filters of topics that a container may write to."""
    return tuple(one.topic_filter for one in _filters(PUBLISH, env.get(PUBLISH, "")))


def _filters(name: str, text: str) -> tuple[TopicTrigger, ...]:
    text = text.strip()
    if not text.startswith("["):
        return tuple(TopicTrigger(one.strip()) for one in text.split(",") if one.strip())
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ServiceError(f"cannot read {name}: it is not JSON") from exc
    return tuple(_trigger(name, value) for value in values)


def _trigger(name: str, value: Any) -> TopicTrigger:
    match value:
        case str() if value:
            return TopicTrigger(value)
        case {"topic": str() as topic, **rest} | {"filter": str() as topic, **rest} if topic:
            qos = rest.get("qos", 1)
            if isinstance(qos, bool) or qos not in (0, 1):
                raise ServiceError(f"cannot read {name}: qos of {topic!r} is not 0 or 1")
            return TopicTrigger(topic, qos)
        case _:
            raise ServiceError(f'cannot read {name}: write ["a/+", {{"topic": "b/#", "qos": 0}}]')


def _number(env: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = env.get(name, "").strip()
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not number >= least:
        raise ServiceError(f"cannot use {name} = {text[:40]!r}: not a number from {least:g} on")
    return number
