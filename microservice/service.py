"""Registers the handlers of a service, and gives them what they use."""

import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from microservice.config.values import SecretValues, SettingValues
from microservice.errors import PublishError, ServiceError
from microservice.message import Message, encode_payload
from microservice.mqtt.wire import MessageProperties
from microservice.outbound import ContainerNetwork, OutboundClient
from microservice.schedules.rules import parse_cron, parse_duration, parse_interval
from microservice.schedules.runner import ScheduledHandler
from microservice.store.state import State
from microservice.telemetry.log import ServiceLog
from microservice.telemetry.metrics import (
    DEFAULT_BUCKETS,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    MetricRegistry,
)
from microservice.telemetry.trace import PARENT, STATE, continue_trace, current_trace
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
    from microservice.testing.harness import TestBench

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=MessageHandler)
R = TypeVar("R", bound=RequestHandler)
S = TypeVar("S", bound=SocketHandler)
L = TypeVar("L", bound=LifeHandler)


class PublishSink(Protocol):
    """Publishes the messages of a service."""

    async def publish(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: MessageProperties
    ) -> None:
        """Return when the broker has the message; PublishError when it does not accept it."""

    async def request(
        self, topic: str, payload: bytes, properties: MessageProperties, timeout_s: float
    ) -> Message:
        """Return the response to a message; RequestTimeoutError when there is none in time."""


@dataclass(frozen=True, slots=True)
class Info:
    """Describes the container and node that a service runs in."""

    container_id: str = ""
    service_type: str = ""
    api_root: str = ""  # its path, such as /api/climate/v1
    node_id: str = ""
    account_id: str = ""


class Service:
    """A microservice. Make one at module level and decorate its handlers (all `async def`)."""

    def __init__(self) -> None:
        self.triggers = Triggers()
        self.env: Mapping[str, str] = {}  # of the container
        self.info = Info()
        self.settings = SettingValues()  # as [settings] of microservice.toml declares them
        self.secrets = SecretValues({})
        self.state = State()
        self.log = ServiceLog()
        self.metrics = MetricRegistry()
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
            answering = self._answering(_coroutine(handler))
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

    async def publish(  # noqa: PLR0913  # options
        self,
        topic: str,
        value: Any,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str = "",
        user_properties: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        expiry: float | None = None,
    ) -> None:
        """Publish bytes or text as they are, anything else as JSON.

        With qos=1 it returns when the broker has the message. The broker drops a message that has
        waited for its expiry, in seconds.

        Raises:
            PublishError: microservice.toml does not allow the topic, or the broker is away.
        """
        properties = _properties(content_type, user_properties, expiry)
        await self._attached(topic).publish(topic, encode_payload(value), qos, retain, properties)

    async def request(
        self,
        topic: str,
        value: Any = b"",
        *,
        timeout: float = 10.0,  # noqa: ASYNC109  # the broker needs to know it, too
        content_type: str = "",
        user_properties: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Message:
        """Publish a message that asks for a response, and return the response.

        The message expires with the timeout, so that nobody acts on it later.

        Raises:
            RequestTimeoutError: there is no response in so many seconds.
            PublishError: as publish().
        """
        properties = _properties(content_type, user_properties, timeout)
        return await self._attached(topic).request(
            topic, encode_payload(value), properties, timeout
        )

    def counter(self, name: str, text: str = "") -> CounterMetric:
        """Make a metric that only grows; the gateway's /metrics shows it."""
        return self.metrics.counter(name, text)

    def gauge(self, name: str, text: str = "") -> GaugeMetric:
        """Make a metric that goes up and down."""
        return self.metrics.gauge(name, text)

    def histogram(
        self, name: str, text: str = "", buckets: Sequence[float] = DEFAULT_BUCKETS
    ) -> HistogramMetric:
        """Make a metric of the distribution of a number, such as seconds."""
        return self.metrics.histogram(name, text, buckets)

    def test(
        self,
        *,
        settings: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        now: float | None = None,
    ) -> "TestBench":
        """Run the service in a test: `async with service.test() as t`, without a gateway.

        The time is `now`, in unix seconds, until the test advances it.
        """
        from microservice.testing.harness import TestBench, TestedService

        def attach(sink: PublishSink) -> None:
            self.attach(sink, env or {}, self.info, settings, secrets)

        return TestBench(TestedService(self.triggers, self.state, self.settings, attach), now)

    def attach(
        self,
        sink: PublishSink,
        env: Mapping[str, str],
        info: Info,
        settings: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Connect the service to its process; called by the runtime."""
        self._sink, self.env, self.info = sink, env, info
        self.settings.replace(settings or {})
        self.secrets = SecretValues(secrets or {})
        self.log.set_level(env.get("LOG_LEVEL", "info").lower())

    def _attached(self, topic: str) -> PublishSink:
        if self._sink is None:
            raise PublishError(f"cannot publish to {topic}: the service is not running")
        return self._sink

    def _answering(self, handler: MessageHandler) -> MessageHandler:
        """Return the handler of a message: within its trace, its result sent as a response."""

        @wraps(handler)
        async def answer(message: Message) -> None:
            parent, state = message.user_property(PARENT), message.user_property(STATE)
            with continue_trace(parent, state):
                result = await handler(message)
                if result is not None and message.response_topic:
                    await self._respond(message, result)

        return answer

    async def _respond(self, message: Message, result: Any) -> None:
        topic, payload = message.response_topic, encode_payload(result)
        properties = replace(_properties("", (), None), correlation=message.correlation)
        try:
            await self._attached(topic).publish(topic, payload, message.qos, False, properties)
        except PublishError as exc:  # it must not make the handler run again
            logger.error("cannot respond: %s", exc)  # noqa: TRY400  # the reason is all there is

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


def _properties(
    content_type: str,
    user_properties: Mapping[str, str] | Sequence[tuple[str, str]],
    expiry: float | None,
) -> MessageProperties:
    """Return the properties of a message, with those of the trace that it belongs to."""
    pairs = user_properties.items() if isinstance(user_properties, Mapping) else user_properties
    trace = current_trace()
    return MessageProperties(
        content_type=content_type,
        user=(*pairs, *(trace.headers if trace else ())),
        expiry_s=None if expiry is None else max(1, math.ceil(expiry)),
    )
