"""Registers the handlers of a service."""

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from microservice.errors import PublishError, ServiceError
from microservice.handling import ServiceCounters
from microservice.message import Message
from microservice.outbound import ContainerNetwork, OutboundClient
from microservice.template import Template, parse_path, parse_topic
from microservice.web import Request

MessageHandler = Callable[[Message], Awaitable[None]]
RequestHandler = Callable[[Request], Awaitable[Any]]
LifeHandler = Callable[[], Awaitable[None]]
# an ASGI application that counts what it answers
MakeApplication = Callable[[ServiceCounters], Callable[[Any, Any, Any], Awaitable[None]]]
M = TypeVar("M", bound=MessageHandler)
R = TypeVar("R", bound=RequestHandler)
L = TypeVar("L", bound=LifeHandler)


class PublishSink(Protocol):
    """Publishes the messages of a service."""

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Return when the broker has the message; PublishError when it does not accept it."""


@dataclass(frozen=True, slots=True)
class Info:
    """Describes the container and node that a service runs in."""

    container_id: str = ""
    service_type: str = ""
    api_root: str = ""  # its path, such as /api/climate/v1
    node_id: str = ""
    account_id: str = ""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A topic and its handler."""

    template: Template
    qos: int
    handler: MessageHandler


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A path and its handler."""

    method: str
    template: Template
    handler: RequestHandler


@dataclass(slots=True)
class Triggers:
    """All triggers of a service; the decorators fill it."""

    messages: list[Trigger] = field(default_factory=list)
    routes: list[HttpRoute] = field(default_factory=list)
    start: list[LifeHandler] = field(default_factory=list)
    stop: list[LifeHandler] = field(default_factory=list)
    closed: list[LifeHandler] = field(default_factory=list)
    make_application: MakeApplication | None = None  # in place of routes


class Service:
    """A microservice. Make one at module level and decorate its handlers (all `async def`)."""

    def __init__(self) -> None:
        self.triggers = Triggers()
        self.env: Mapping[str, str] = {}  # of the container
        self.info = Info()
        self.http = OutboundClient("")  # requests to everything else
        self.forwards: Mapping[str, tuple[str, int]] = {}  # of [network] forward, by name
        self._sink: PublishSink | None = None

    def on(self, topic: str, qos: int = 1) -> Callable[[M], M]:
        """Call the handler for each message on a topic, such as "sensors/{room}/temperature".

        Handlers of one topic run one after the other, in order; those of different topics run in
        parallel. With qos=1 the message is acknowledged when the handler has returned. A handler
        that raises runs once more; then the message counts as failed and is acknowledged.
        """
        if qos not in (0, 1):
            raise ServiceError(f"cannot subscribe to {topic!r}: qos is {qos}, not 0 or 1")
        template = parse_topic(topic)

        def decorate(handler: M) -> M:
            self.triggers.messages.append(Trigger(template, qos, _coroutine(handler)))
            return handler

        return decorate

    def get(self, path: str) -> Callable[[R], R]:
        """Answer GET (and HEAD) on a path below the service's base, such as "/rooms/{room}".

        The handler returns a Response, or its content: a dict, a list, text, bytes.
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

    def serve_by(self, make: MakeApplication, close: LifeHandler) -> None:
        """Let an ASGI application answer all requests; close it after the last one.

        For runtimes of other languages.
        """
        self.triggers.make_application = make
        self.triggers.closed.append(close)

    async def publish(self, topic: str, value: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish bytes or text as they are, anything else as JSON.

        With qos=1 it returns when the broker has the message.

        Raises:
            PublishError: microservice.toml does not allow the topic, or the broker is away.
        """
        if self._sink is None:
            raise PublishError(f"cannot publish to {topic}: the service is not running")
        match value:
            case bytes() | bytearray() | memoryview():
                payload = bytes(value)
            case str():
                payload = value.encode()
            case _:
                payload = json.dumps(value).encode()
        await self._sink.publish(topic, payload, qos, retain)

    def attach(self, sink: PublishSink, env: Mapping[str, str], info: Info) -> None:
        """Connect the service to its process; called by the runtime."""
        self._sink, self.env, self.info = sink, env, info

    def attach_network(self, network: ContainerNetwork) -> None:
        """Connect the service to the network of its process; called by the runtime."""
        self.http, self.forwards = network.client, network.forwards

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
