"""Registers the handlers of a service: the decorators that a developer writes above them."""

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from microservice.errors import ServiceError
from microservice.schedules.rules import parse_cron, parse_duration, parse_interval
from microservice.schedules.runner import ScheduledHandler
from microservice.template import parse_path, parse_topic
from microservice.triggers.registry import (
    NEW,
    RETAIN_HANDLING,
    HttpRoute,
    LifeHandler,
    MessageHandler,
    RequestHandler,
    SocketHandler,
    SocketRoute,
    Trigger,
    Triggers,
)

if TYPE_CHECKING:
    from microservice.schedules.rules import Rule

M = TypeVar("M", bound=MessageHandler)
R = TypeVar("R", bound=RequestHandler)
S = TypeVar("S", bound=SocketHandler)
L = TypeVar("L", bound=LifeHandler)
H = TypeVar("H", bound=Callable[..., Awaitable[Any]])


class TriggerDecorators:
    """The triggers of a service, and the decorators that add to them."""

    def __init__(self) -> None:
        self.triggers = Triggers()

    def wrap_message_handler(self, handler: MessageHandler) -> MessageHandler:
        """Return the handler of a message as it is to be called."""
        return handler

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

        What the handler returns, unless it is None, is published as the response to a message
        that asks for one (request()).

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
            answering = self.wrap_message_handler(_coroutine(handler))
            self.triggers.messages.append(
                Trigger(template, qos, answering, concurrency, tries, limit_s, retained, echo)
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

    def websocket(self, path: str) -> Callable[[S], S]:
        """Serve WebSockets on a path below the service's base, such as "/live"."""
        template = parse_path(path)

        def decorate(handler: S) -> S:
            self.triggers.sockets.append(SocketRoute(template, _coroutine(handler)))
            return handler

        return decorate

    def every(self, period: float | str, *, limit: float | str | None = None) -> Callable[[L], L]:
        """Call the handler at intervals: seconds, or "15s", "5m", "1h".

        The first call comes after one period. A handler that takes longer than the period leaves
        calls out; one that takes longer than the limit (30 s) is ended.
        """
        return self._schedule(str(period), parse_interval(period), limit)

    def cron(
        self,
        expression: str,
        *,
        timezone: str = "UTC",
        missed: str = "skip",
        limit: float | str | None = None,
    ) -> Callable[[L], L]:
        """Call the handler at times of the calendar, such as "30 2 * * *": at 02:30 every day.

        In the nights of a clock change it is called once: for 02:30 at 03:00 in spring, and at the
        first 02:30 in autumn. With missed="once" it is called once after the service, or the right
        time, was away while calls were due.
        """
        return self._schedule(expression, parse_cron(expression, timezone, missed), limit)

    def on_settings(self, handler: L) -> L:
        """Call the handler after settings were changed while the service runs."""
        self.triggers.settings.append(_coroutine(handler))
        return handler

    def on_start(self, handler: L) -> L:
        """Call the handler once, connected to the broker but before the first trigger."""
        self.triggers.start.append(_coroutine(handler))
        return handler

    def on_stop(self, handler: L) -> L:
        """Call the handler once, after the last trigger."""
        self.triggers.stop.append(_coroutine(handler))
        return handler

    def _schedule(self, text: str, rule: "Rule", limit: float | str | None) -> Callable[[L], L]:
        limit_s = None if limit is None else parse_duration(limit)

        def decorate(handler: L) -> L:
            name = getattr(handler, "__name__", "schedule")
            if any(each.name == name for each in self.triggers.schedules):
                name = f"{name} ({text})"
            made = ScheduledHandler(name, rule, _coroutine(handler), limit_s)
            self.triggers.schedules.append(made)
            return handler

        return decorate

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


def _coroutine(handler: H) -> H:
    is_coroutine: bool = inspect.iscoroutinefunction(handler)
    if not is_coroutine:
        name = getattr(handler, "__name__", repr(handler))
        raise ServiceError(f"cannot use {name} as a handler: write async def {name}")
    return handler
