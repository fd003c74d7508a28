"""The service: what is to be called when."""

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from microservice.errors import PublishError, ServiceError
from microservice.message import Message
from microservice.template import Template, parse_path, parse_topic
from microservice.web import Request

MessageHandler = Callable[[Message], Awaitable[None]]
RequestHandler = Callable[[Request], Awaitable[Any]]
LifeHandler = Callable[[], Awaitable[None]]
M = TypeVar("M", bound=MessageHandler)
R = TypeVar("R", bound=RequestHandler)
L = TypeVar("L", bound=LifeHandler)


class PublishSink(Protocol):
    """Takes the messages that a service publishes."""

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Return when the message is the broker's; PublishError when it cannot be."""


@dataclass(frozen=True, slots=True)
class Info:
    """Describes the container and node that a service runs in."""

    container_id: str = ""
    service_type: str = ""
    api_root: str = ""  # the path that leads to it, such as /api/climate/v1
    node_id: str = ""
    account_id: str = ""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A topic and what it starts."""

    template: Template
    qos: int
    handler: MessageHandler


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A path and what it starts."""

    method: str
    template: Template
    handler: RequestHandler


@dataclass(slots=True)
class Triggers:
    """Everything that starts a handler; filled by the decorators."""

    messages: list[Trigger] = field(default_factory=list)
    routes: list[HttpRoute] = field(default_factory=list)
    start: list[LifeHandler] = field(default_factory=list)
    stop: list[LifeHandler] = field(default_factory=list)


class Service:
    """A microservice. Make one at module level and decorate its handlers (all `async def`)."""

    def __init__(self) -> None:
        self.triggers = Triggers()
        self.env: Mapping[str, str] = {}  # what the container was given
        self.info = Info()
        self._outlet: PublishSink | None = None

    def on(self, topic: str, qos: int = 1) -> Callable[[M], M]:
        """Call the handler for each message on a topic, such as "sensors/{room}/temperature".

        Messages of one topic are handled one after the other, in order; different topics side by
        side. With qos=1 the message is acknowledged when the handler has returned. A handler that
        raises is called once more; then the message is counted as failed and left.
        """
        if qos not in (0, 1):
            raise ServiceError(f"cannot listen on {topic!r}: qos is {qos}, not 0 or 1")
        template = parse_topic(topic)

        def decorate(handler: M) -> M:
            self.triggers.messages.append(Trigger(template, qos, _coroutine(handler)))
            return handler

        return decorate

    def get(self, path: str) -> Callable[[R], R]:
        """Answer GET (and HEAD) on a path below the service's base, such as "/rooms/{room}".

        The handler returns a Response, or what makes one: a dict, a list, text, bytes.
        """
        return self._route("GET", path)

    def post(self, path: str) -> Callable[[R], R]:
        """Answer POST on a path."""
        return self._route("POST", path)

    def put(self, path: str) -> Callable[[R], R]:
        """Answer PUT on a path."""
        return self._route("PUT", path)

    def delete(self, path: str) -> Callable[[R], R]:
        """Answer DELETE on a path."""
        return self._route("DELETE", path)

    def on_start(self, handler: L) -> L:
        """Call the handler once, connected to the broker but before the first trigger."""
        self.triggers.start.append(_coroutine(handler))
        return handler

    def on_stop(self, handler: L) -> L:
        """Call the handler once, after the last trigger."""
        self.triggers.stop.append(_coroutine(handler))
        return handler

    async def publish(self, topic: str, value: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish bytes or text as they are, anything else as JSON.

        With qos=1 it returns when the broker has the message.

        Raises:
            PublishError: microservice.toml does not allow the topic, or the broker is away.
        """
        if self._outlet is None:
            raise PublishError(f"cannot publish to {topic}: the service has not been started")
        match value:
            case bytes() | bytearray() | memoryview():
                payload = bytes(value)
            case str():
                payload = value.encode()
            case _:
                payload = json.dumps(value).encode()
        await self._outlet.publish(topic, payload, qos, retain)

    def attach(self, outlet: PublishSink, env: Mapping[str, str], info: Info) -> None:
        """Give the service its place; for those who run services."""
        self._outlet, self.env, self.info = outlet, env, info

    def _route(self, method: str, path: str) -> Callable[[R], R]:
        template = parse_path(path)

        def decorate(handler: R) -> R:
            self.triggers.routes.append(HttpRoute(method, template, _coroutine(handler)))
            return handler

        return decorate


H = TypeVar("H", bound=Callable[..., Awaitable[Any]])


def _coroutine(handler: H) -> H:
    is_coroutine: bool = inspect.iscoroutinefunction(handler)
    if not is_coroutine:
        name = getattr(handler, "__name__", repr(handler))
        raise ServiceError(f"cannot use {name} as a handler: write async def {name}")
    return handler
