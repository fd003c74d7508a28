"""Provides the kit that a microservice imports: handlers for MQTT and HTTP, and publishing.

A microservice is a folder with `microservice.toml` (its name, its HTTP base, its MQTT rights) and
`service.py`:

    from microservice import Message, Request, Response, Service

    service = Service()

    @service.on("sensors/{room}/temperature")
    async def convert(message: Message) -> None:
        celsius = message.json()["value"]
        await service.publish(f"rooms/{message['room']}/fahrenheit", {"value": celsius * 1.8 + 32})

    @service.get("/rooms/{room}")
    async def room(request: Request) -> Response:
        return Response({"room": request["room"], "seen": await service.state.get("seen", 0)})

    @service.every("15m")
    async def count() -> None:
        await service.state.update("seen", lambda seen: seen + 1, default=0)

The gateway runs it in a process of its own; there is nothing to start and no broker address to
know. A message at QoS 1 is acknowledged when its handlers are done, so a reading that arrives
while the process restarts is handled afterwards. It may be handled twice, but always once.

docs/microservices.md has a section for each feature.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microservice.errors import (
        DamagedStoreError,
        FullStoreError,
        HangupError,
        HttpError,
        MicroserviceError,
        OutboundError,
        OutboundRefusedError,
        OutboundTimeoutError,
        PublishError,
        RequestTimeoutError,
        ServiceError,
        SettingError,
        StoreError,
    )
    from microservice.info import Info
    from microservice.message import Message
    from microservice.outbound.answer import CallAnswer
    from microservice.script_bench import ScriptTest
    from microservice.service import Service
    from microservice.store.state import State, StateTransaction
    from microservice.web import Request, Response, WebSocket

__all__ = [
    "CallAnswer",
    "DamagedStoreError",
    "FullStoreError",
    "HangupError",
    "HttpError",
    "Info",
    "Message",
    "MicroserviceError",
    "OutboundError",
    "OutboundRefusedError",
    "OutboundTimeoutError",
    "PublishError",
    "Request",
    "RequestTimeoutError",
    "Response",
    "ScriptTest",
    "Service",
    "ServiceError",
    "SettingError",
    "State",
    "StateTransaction",
    "StoreError",
    "WebSocket",
]

_MODULES = {
    "CallAnswer": "outbound.answer",
    "Info": "info",
    "Message": "message",
    "Request": "web",
    "Response": "web",
    "ScriptTest": "script_bench",
    "Service": "service",
    "State": "store.state",
    "StateTransaction": "store.state",
    "WebSocket": "web",
}


def __getattr__(name: str) -> Any:
    """Import a name with its first use: a gateway uses other modules of this package alone."""
    if name not in __all__:
        raise AttributeError(f"module 'microservice' has no attribute {name!r}")
    module = importlib.import_module(f"microservice.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)
