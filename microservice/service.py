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


ALL, NEW, NEVER = "all", "new", "never"  # retained messages that a trigger wants
RETAIN_HANDLING = {ALL: 0, NEW: 1, NEVER: 2}  # MQTT 5, 3.8.3.1


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
    concurrency: int = 1  # messages of one topic at once; 1 keeps their order
    tries: int | None = None  # None: as in [retry] of microservice.toml
    limit_s: float | None = None  # None: as in [limits] handler_s
    retained: str = NEW
    echo: bool | None = None  # None: as in [mqtt] echo


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
    has_sockets: bool = False  # of that application


class Service:
    """A microservice. Make one at module level and decorate its handlers (all `async def`)."""

    def __init__(self) -> None:
        self.triggers = Triggers()
        self.env: Mapping[str, str] = {}  # of the container
        self.info = Info()
        self.http = OutboundClient("")  # requests to everything else
        self.forwards: Mapping[str, tuple[str, int]] = {}  # of [network] forward, by name
        self._sink: PublishSink | None = None

    def on(  # noqa: PLR0913  # the options of a trigger
        self,
        topic: str,
        qos: int = 1,
        *,
        concurrency: int = 1,
        tries: int | None = None,
        limit_s: float | None = None,
        retained: str = NEW,
        echo: bool | None = None,
    ) -> Callable[[M], M]:
        """Call the handler for each message on a topic, such as "sensors/{room}/temperature".

        Handlers of one topic run one after the other, in order; those of different topics run in
        parallel. With qos=1 the message is acknowledged when the handler has returned. A handler
        that raises, or still runs at its limit, is called again after a pause that doubles; after
        the last try the message is kept as a dead letter (`hecate deadletters`).

        Args:
            topic: levels in braces are found in `message["room"]`; + and # are wildcards.
            qos: 0 or 1.
            concurrency: messages of one topic that are handled at once; above 1 gives up order.
            tries: calls for one message; otherwise [retry] tries of microservice.toml.
            limit_s: time for one call; otherwise [limits] handler_s.
            retained: "all" retained messages at each start of the process, "new" only when the
                subscription is new (a restart repeats none), or "never".
            echo: whether messages that this container publishes come back to it; otherwise
                [mqtt] echo.
        """
        _check_trigger(topic, qos, concurrency, tries, limit_s, retained)
        template = parse_topic(topic)

        def decorate(handler: M) -> M:
            self.triggers.messages.append(
                Trigger(
                    template, qos, _coroutine(handler), concurrency, tries, limit_s, retained, echo
                )
            )
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

    def serve_by(
        self, make: MakeApplication, close: LifeHandler, *, has_sockets: bool = False
    ) -> None:
        """Let an ASGI application answer all requests; close it after the last one.

        For runtimes of other languages. has_sockets tells whether it takes WebSockets.
        """
        self.triggers.make_application = make
        self.triggers.has_sockets = has_sockets
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


def _check_trigger(  # the options of a trigger
    topic: str,
    qos: int,
    concurrency: int,
    tries: int | None,
    limit_s: float | None,
    retained: str,
) -> None:
    why = ""
    if qos not in (0, 1):
        why = f"qos is {qos}, not 0 or 1"
    elif concurrency < 1:
        why = f"concurrency is {concurrency}, below 1"
    elif tries is not None and tries < 1:
        why = f"tries is {tries}, below 1"
    elif limit_s is not None and limit_s <= 0:
        why = f"limit_s is {limit_s:g}, not above 0"
    elif retained not in RETAIN_HANDLING:
        why = f'retained is {retained!r}, not "all", "new" or "never"'
    if why:
        raise ServiceError(f"cannot subscribe to {topic!r}: {why}")


H = TypeVar("H", bound=Callable[..., Awaitable[Any]])


def _coroutine(handler: H) -> H:
    is_coroutine: bool = inspect.iscoroutinefunction(handler)
    if not is_coroutine:
        name = getattr(handler, "__name__", repr(handler))
        raise ServiceError(f"cannot use {name} as a handler: write async def {name}")
    return handler
