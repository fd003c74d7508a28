"""Makes a Service of an index.js: its HTTP requests, MQTT messages and WebSocket events."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from microservice.control import Launch
from microservice.handling import ServiceCounters
from microservice.javascript.application import ScriptApplication
from microservice.javascript.calls import AsyncCalls, CallTargets
from microservice.javascript.environment import TIME_LIMIT, read_environment
from microservice.javascript.events import EventHub
from microservice.javascript.exchange import RuntimeParts, console, indented
from microservice.javascript.faults import Ceilings
from microservice.javascript.processes import EvaluatorProcess, EvaluatorSettings, FrameStream
from microservice.javascript.storage import Storage, Uploads
from microservice.javascript.triggers import MessageTrigger
from microservice.service import Service

MIB = 1024 * 1024
BACKSTOP_S = 0.4  # a request is answered half a second after its limit at the latest
LOAD_S = 10.0  # for index.js itself
HTTP_PORT = "8083"  # of the gateway's API, whatever port it has on the network
SPARE_S = 3.0  # beyond a script's limit: its own end tells the line


async def load_javascript(launch: Launch, data: Path | None = None) -> Service:
    """Evaluate index.js and return its Service, which keeps its storage in the folder data.

    Raises:
        ServiceError: index.js cannot be used, or a setting in the environment.
    """
    settings = read_environment(launch.env, launch.memory_mib)
    wanted_s = launch.env.get(TIME_LIMIT, "").strip()
    if wanted_s and float(wanted_s) > settings.limit_s:
        console.warning("%s = %s: the limit is %g s", TIME_LIMIT, wanted_s, settings.limit_s)
    evaluator = EvaluatorProcess(
        EvaluatorSettings(
            code=Path(launch.code),
            memory_bytes=settings.memory_mib * MIB,
            limit_s=settings.limit_s,
            backstop_s=BACKSTOP_S,
            load_s=LOAD_S,
            shared={"env": dict(launch.env), "info": _info(launch)},
        )
    )
    await evaluator.start()
    for level, line in evaluator.early_log:
        console.log(logging.getLevelNamesMapping()[level.upper()], "%s", indented(line))
    service = Service()
    storage = Storage(data or Path.cwd(), launch.store_mib)

    async def publish(topic: str, payload: bytes, qos: int, retain: bool) -> None:
        await service.publish(topic, payload, qos=qos, retain=retain)

    def make_calls(stream: FrameStream, uploads: Uploads) -> AsyncCalls:
        return AsyncCalls(CallTargets(service.http, publish, launch.info), stream, uploads)

    parts = RuntimeParts(
        evaluator,
        storage,
        EventHub(is_enabled=settings.has_events),
        make_calls,
        Ceilings(settings.limit_s, settings.memory_mib),
        lambda: {"settings": dict(service.settings), "secrets": dict(service.secrets)},
    )
    slots = asyncio.Semaphore(launch.concurrency)
    has_triggers = bool(settings.triggers)

    def make_application(counters: ServiceCounters) -> ScriptApplication:
        return ScriptApplication(
            parts, slots, counters, concurrency=launch.concurrency, has_triggers=has_triggers
        )

    trigger = MessageTrigger(parts, slots)
    for wanted in settings.triggers:
        on = service.on(wanted.topic_filter, wanted.qos, limit_s=settings.limit_s + SPARE_S)
        on(trigger.handle)

    async def close() -> None:
        await evaluator.stop()
        await storage.close()

    service.triggers.serve_by(make_application, close, has_sockets=settings.has_events)
    return service


def _info(launch: Launch) -> dict[str, Any]:
    info = launch.info
    return {
        "serviceType": info.service_type,
        "apiRoot": info.api_root,
        "httpPort": HTTP_PORT,
        "nodeId": info.node_id,
        "accountId": info.account_id,
    }
