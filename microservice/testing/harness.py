"""Drives a service in a test: `async with service.test() as t`.

Handlers run in the order, with the tries and the limits of production: messages pass the same
Dispatcher and HandlerQueue, requests the same ASGI application. Only the broker, the HTTP server
and the clocks are the test's own.
"""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from microservice.config.values import SettingValues
from microservice.deliveries import HandlerQueue
from microservice.dispatch import Dispatcher
from microservice.errors import RequestTimeoutError
from microservice.handling import HandlerLimits, ServiceCounters
from microservice.http.asgi import App
from microservice.message import encode_payload
from microservice.mqtt.retry import RetryPolicy
from microservice.mqtt.rights import TopicRights
from microservice.mqtt.texts import check_topic
from microservice.mqtt.wire import NO_PROPERTIES, Incoming, MessageProperties
from microservice.outbound.answer import service_url
from microservice.schedules.runner import Clocks, ScheduleRunner
from microservice.store.state import State
from microservice.testing.broker import DeadMessage, PublishedMessage, TestBroker
from microservice.testing.client import AppClient, HttpAnswer, SocketClient
from microservice.testing.manifest import TestedManifest
from microservice.testing.outbound import SentRequest, TestOutbound
from microservice.triggers.registry import Triggers

START_S = 1_800_000_000.0  # 2027-01-15 08:00 UTC, unless a test says otherwise
HANDLER_S = 30.0
STORE_MIB = 16


@dataclass(frozen=True, slots=True)
class TestedService:
    """The parts of a service that a test drives."""

    __test__ = False

    triggers: Triggers
    state: State
    settings: SettingValues
    # connects the service to the test and its clock
    attach: Callable[[TestBroker, TestOutbound, Callable[[], float]], None]
    manifest: TestedManifest | None  # None: all is allowed
    secrets: tuple[str, ...]  # the names of those that are given


class TestBench:
    """One running service, and what happens around it."""

    __test__ = False

    def __init__(self, service: TestedService, now: float | None) -> None:
        self.counters = ServiceCounters()
        manifest = service.manifest
        rights = TopicRights(manifest.publish) if manifest is not None else None
        self._service, self._broker = service, TestBroker(rights)
        self._outbound = TestOutbound()
        self._now = START_S if now is None else now  # of both clocks
        limits = HandlerLimits(HANDLER_S, 0)
        triggers = service.triggers
        self._dispatcher = Dispatcher(
            triggers.messages,
            HandlerQueue(),
            self.counters,
            limits,
            RetryPolicy(first_delay_s=0, max_delay_s=0),  # a test waits for no pause
            Path.cwd(),
            self._broker,
        )
        clocks = Clocks(lambda: self._now, lambda: self._now)
        self._schedules = ScheduleRunner(
            triggers.schedules, service.state, self.counters, limits, clocks
        )
        self._http = AppClient(
            triggers.make_application(self.counters)
            if triggers.make_application is not None
            else App(triggers.routes, triggers.sockets, self.counters, limits)
        )
        if manifest is not None:
            manifest.check(self._dispatcher.filters(), service.secrets)
        self._folder = tempfile.TemporaryDirectory(prefix="service-test-")

    async def __aenter__(self) -> Self:
        self._service.attach(self._broker, self._outbound, lambda: self._now)
        place = Path(self._folder.name) / "store.db"
        self._service.state.attach(place, STORE_MIB, lambda _: None)
        await self._schedules.begin()
        for handler in self._service.triggers.start:
            await handler()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for handler in self._service.triggers.stop:
                await handler()
        finally:
            self._dispatcher.close()
            await self._schedules.stop(0)
            for close in self._service.triggers.closed:
                await close()
            await self._service.state.close()
            self._folder.cleanup()

    @property
    def published(self) -> list[PublishedMessage]:
        """The messages that the service has published, oldest first."""
        return self._broker.published

    @property
    def dead_letters(self) -> list[DeadMessage]:
        """The messages that no try could handle, oldest first."""
        return self._broker.dead_letters

    @property
    def now(self) -> float:
        """The unix time of the test; advance() moves it."""
        return self._now

    async def publish(
        self,
        topic: str,
        value: Any,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: MessageProperties | None = None,
    ) -> None:
        """Deliver a message to the service; return when its handlers are done.

        Raises:
            PublishError: the topic is that of no message, such as a filter.
        """
        check_topic(topic)
        packet_id, handled = self._broker.expect_acknowledgement()
        message = Incoming(
            topic, encode_payload(value), qos, retain, False, packet_id, properties or NO_PROPERTIES
        )
        self._dispatcher.arrived(message)
        self._dispatcher.start()
        await handled.wait()

    async def request(self, topic: str, value: Any = b"") -> Any:
        """Deliver a message that asks for a response; return the value of the response."""
        before = len(self.published)
        asking = MessageProperties(response_topic="responses/test", correlation=b"test")
        await self.publish(topic, value, properties=asking)
        for message in self.published[before:]:
            if message.topic == asking.response_topic:
                self.published.remove(message)
                return message.value
        raise RequestTimeoutError(f"cannot request {topic}: no handler returned a value")

    def respond(self, topic: str, value: Any) -> None:
        """Answer the requests of the service to a topic with a value from now on."""
        self._broker.responses[topic] = value

    def answer(self, target: str, value: Any, *, status: int = 200, node: str = "") -> None:
        """Answer the calls and requests of the service to a target from now on.

        Args:
            target: a URL, a path of the gateway's API ("/mds/v1/nodes"), or the type and path of a
                service: "api-climate/rooms/attic".
            value: the body: bytes, text, or anything else as JSON.
            status: of the answer.
            node: the one that a call of a service names.
        """
        if "://" not in target and not target.startswith("/"):
            service_type, _, path = target.partition("/")
            target = service_url(service_type, path, node)
        self._outbound.answer(target, value, status)

    @property
    def sent(self) -> list[SentRequest]:
        """The requests that the service has sent over HTTP, oldest first."""
        return self._outbound.sent

    async def advance(self, seconds: float) -> None:
        """Move both clocks; run the schedules that become due, one time after the other."""
        end = self._now + seconds
        while True:
            runs = self._schedules.launch_due()
            if runs:
                await asyncio.wait(runs)
            left = end - self._now
            if left <= 0:
                return
            self._now += min(left, self._schedules.wait_s())

    async def change_settings(self, **settings: Any) -> None:
        """Change settings while the service runs."""
        self._service.settings.replace({**self._service.settings, **settings})
        for handler in self._service.triggers.settings:
            await handler()

    async def get(self, path: str, **options: Any) -> HttpAnswer:
        """Send GET; see call()."""
        return await self._http.call("GET", path, **options)

    async def post(self, path: str, value: Any = None, **options: Any) -> HttpAnswer:
        """Send POST; see call()."""
        return await self._http.call("POST", path, value, **options)

    async def put(self, path: str, value: Any = None, **options: Any) -> HttpAnswer:
        """Send PUT; see call()."""
        return await self._http.call("PUT", path, value, **options)

    async def delete(self, path: str, **options: Any) -> HttpAnswer:
        """Send DELETE; see call()."""
        return await self._http.call("DELETE", path, **options)

    def websocket(self, path: str, headers: Mapping[str, str] | None = None) -> SocketClient:
        """Return a WebSocket: `async with t.websocket("/live") as socket`."""
        return self._http.websocket(path, headers or {})
