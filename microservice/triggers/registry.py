"""Defines the triggers of a service: topics, paths and times, each with its handler."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from microservice.handling import ServiceCounters
from microservice.message import Message
from microservice.schedules.runner import ScheduledHandler
from microservice.template import Template
from microservice.web import Request, WebSocket

ALL, NEW, NEVER = "all", "new", "never"  # retained messages that a trigger wants
RETAIN_HANDLING = {ALL: 0, NEW: 1, NEVER: 2}  # MQTT 5, 3.8.3.1

MessageHandler = Callable[[Message], Awaitable[Any]]
RequestHandler = Callable[[Request], Awaitable[Any]]
SocketHandler = Callable[[WebSocket], Awaitable[None]]
LifeHandler = Callable[[], Awaitable[None]]
# returns an ASGI application that counts what it answers
MakeApplication = Callable[[ServiceCounters], Callable[[Any, Any, Any], Awaitable[None]]]


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


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """A path and its handler of WebSockets."""

    template: Template
    handler: SocketHandler


@dataclass(slots=True)
class Triggers:
    """All triggers of a service; the decorators fill it."""

    messages: list[Trigger] = field(default_factory=list)
    routes: list[HttpRoute] = field(default_factory=list)
    sockets: list[SocketRoute] = field(default_factory=list)
    schedules: list[ScheduledHandler] = field(default_factory=list)
    settings: list[LifeHandler] = field(default_factory=list)
    start: list[LifeHandler] = field(default_factory=list)
    stop: list[LifeHandler] = field(default_factory=list)
    closed: list[LifeHandler] = field(default_factory=list)
    make_application: MakeApplication | None = None  # in place of routes and sockets
    has_sockets: bool = False  # of that application

    def serve_by(
        self, make: MakeApplication, close: LifeHandler, *, has_sockets: bool = False
    ) -> None:
        """Let an ASGI application answer all requests; close it after the last one.

        For runtimes of other languages. has_sockets tells whether it takes WebSockets.
        """
        self.make_application, self.has_sockets = make, has_sockets
        self.closed.append(close)
