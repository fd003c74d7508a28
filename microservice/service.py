"""Gives the handlers of a service what they use: publishing, calls, state, settings, metrics."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

from microservice.config.values import SecretValues, SettingValues
from microservice.errors import PublishError
from microservice.info import Info
from microservice.message import Message, encode_payload
from microservice.mqtt.texts import check_pairs, check_text
from microservice.mqtt.wire import NO_PROPERTIES, MessageProperties
from microservice.outbound import ContainerNetwork, OutboundClient
from microservice.outbound.answer import CallAnswer, service_url
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
from microservice.triggers.decorators import TriggerDecorators
from microservice.triggers.registry import MessageHandler
from microservice.web import JSON_TYPE

if TYPE_CHECKING:
    from microservice.testing.harness import TestBench
    from microservice.testing.manifest import TestedManifest

logger = logging.getLogger(__name__)

EXPIRY_MAX_S = 2**32 - 1  # MQTT 5, 3.3.2.3.3
_NO_TRACE = nullcontext()


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


class Service(TriggerDecorators):
    """A microservice. Make one at module level and decorate its handlers (all `async def`)."""

    def __init__(self) -> None:
        super().__init__()
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
        self._clock: Callable[[], float] = time.time

    def now(self) -> float:
        """Return the time in unix seconds; in a test it is the test's."""
        return self._clock()

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
        if qos not in (0, 1):
            raise PublishError(f"cannot publish to {topic} with qos {qos!r}: must be 0 or 1")
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

    async def call(  # noqa: PLR0913  # options
        self,
        service_type: str,
        path: str = "/",
        value: Any = None,
        *,
        method: str = "",
        node: str = "",
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,  # noqa: ASYNC109  # for the answer to begin, and between its bytes
    ) -> CallAnswer:
        """Call another service over HTTP, on this node or on another; return its whole answer.

        Args:
            service_type: such as "api-climate"; `<client id>-<name>`.
            path: below the base of that service.
            value: the body: bytes, text, or anything else as JSON.
            method: GET, or POST with a value, unless it is given.
            node: the id of the node; the nearest that has the service when it is empty.
            headers: further ones.
            timeout: seconds in which something must arrive.

        Raises:
            OutboundError: it cannot be reached; an error status is an answer.
        """
        given = dict(headers or {})
        body = b"" if value is None else encode_payload(value)
        if value is not None and not isinstance(value, bytes | bytearray | memoryview | str):
            given.setdefault("content-type", JSON_TYPE)
        word = method or ("GET" if value is None else "POST")
        url = service_url(service_type, path, node)
        async with self.http.request(
            word, url, headers=given, body=body, read_timeout=timeout
        ) as response:
            return CallAnswer(response.status, response.headers, await response.read())

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

        Settings that are not given have the defaults of the microservice.toml beside the code. The
        time is `now`, in unix seconds, until the test advances it.

        Raises:
            ServiceError: microservice.toml does not declare what is given.
        """
        from microservice.testing.manifest import find_manifest

        manifest = find_manifest(self.triggers)
        return self.test_with(
            manifest, settings=settings or {}, secrets=secrets or {}, env=env or {}, now=now
        )

    def test_with(
        self,
        manifest: "TestedManifest | None",
        *,
        settings: Mapping[str, Any],
        secrets: Mapping[str, str],
        env: Mapping[str, str],
        now: float | None,
    ) -> "TestBench":
        """Run the service in a test with a manifest; called by test() and ScriptTest."""
        from microservice.testing.harness import TestBench, TestedService

        values = dict(settings) if manifest is None else manifest.values(settings)

        def attach(sink: PublishSink, http: OutboundClient, clock: Callable[[], float]) -> None:
            self.attach(sink, env, self.info, values, secrets)
            self.http, self._clock = http, clock

        tested = TestedService(
            self.triggers, self.state, self.settings, attach, manifest, tuple(secrets)
        )
        return TestBench(tested, now)

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
        self.log.hide(self.secrets.values())
        self.log.set_level(env.get("LOG_LEVEL", "info").lower())

    def attach_network(self, network: ContainerNetwork) -> None:
        """Connect the service to the network of its process; called by the runtime."""
        self.http, self.forwards = network.client, network.forwards

    def _attached(self, topic: str) -> PublishSink:
        if self._sink is None:
            raise PublishError(f"cannot publish to {topic}: the service is not running")
        return self._sink

    def wrap_message_handler(self, handler: MessageHandler) -> MessageHandler:
        """Return the handler of a message: within its trace, its result sent as a response."""

        @wraps(handler)
        async def answer(message: Message) -> None:
            trace: AbstractContextManager[None] = _NO_TRACE
            if message.user_properties:
                parent, state = message.user_property(PARENT), message.user_property(STATE)
                trace = continue_trace(parent, state)
            with trace:
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


def _properties(
    content_type: str,
    user_properties: Mapping[str, str] | Sequence[tuple[str, str]],
    expiry: float | None,
) -> MessageProperties:
    """Return the properties of a message, with those of the trace that it belongs to."""
    given = user_properties.items() if isinstance(user_properties, Mapping) else user_properties
    pairs = tuple(given)
    trace = current_trace()
    if not (trace or pairs or content_type) and expiry is None:
        return NO_PROPERTIES
    check_text("content_type", content_type)
    check_pairs(pairs)
    return MessageProperties(
        content_type=content_type,
        user=(*pairs, *(trace.headers if trace else ())),
        expiry_s=None if expiry is None else max(1, min(math.ceil(expiry), EXPIRY_MAX_S)),
    )
