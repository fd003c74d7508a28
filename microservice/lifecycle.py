"""Prepares, runs, pauses and stops one service, as the gateway commands."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from microservice.asgi import App
from microservice.broker_link import BrokerLink
from microservice.control import (
    Command,
    Counts,
    Doing,
    Failed,
    Launch,
    Paused,
    Prepared,
    Ready,
    Report,
)
from microservice.deliveries import HandlerQueue
from microservice.dispatch import Dispatcher
from microservice.errors import PublishError
from microservice.handling import HandlerLimits, ServiceCounters
from microservice.mqtt.current import with_inherited
from microservice.mqtt.dead_letters import dead_letter_topic
from microservice.mqtt.retry import RetryPolicy
from microservice.mqtt.rights import TopicRights
from microservice.mqtt.wire import NO_PROPERTIES, Incoming, MessageProperties
from microservice.service import Service

logger = logging.getLogger(__name__)

COUNTS_INTERVAL_S = 1.0
HEADER_LIMIT_BYTES = 64 * 1024


class ServiceLifecycle:
    """Runs one service in this process; report() sends reports to the gateway."""

    def __init__(self, service: Service, launch: Launch, report: Callable[[Report], None]) -> None:
        self._service, self._launch, self._report = service, launch, report
        self._counters = ServiceCounters()
        self._dispatcher = Dispatcher(
            service.triggers.messages,
            HandlerQueue(launch.concurrency, launch.queue_limit),
            self._counters,
            HandlerLimits(launch.handler_s, launch.memory_mib),
            RetryPolicy(launch.retry_tries, launch.retry_first_s, launch.retry_max_s),
            Path(launch.code),
            self,
        )
        self._rights = TopicRights(launch.publish)
        self._link: BrokerLink | None = None
        self._started = False
        self._server = _make_server(
            self._make_application(),
            launch.stop_s / 2,
            sockets=service.triggers.has_sockets,
        )
        self._serving: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None

    def _make_application(self) -> Any:
        triggers, launch = self._service.triggers, self._launch
        if triggers.make_application is not None:
            return triggers.make_application(self._counters)
        limits = HandlerLimits(launch.handler_s, launch.memory_mib)
        return App(triggers.routes, self._counters, limits)

    async def prepare(self) -> None:
        """Serve HTTP; report the topics of the service."""
        self._service.attach(self, self._launch.env, self._launch.info)
        sock = socket.socket(fileno=self._launch.http_fd)
        self._serving = asyncio.create_task(self._server.serve([sock]), name="http")
        await self._server.listening.wait()
        self._counting = asyncio.create_task(self._count(), name="counts")
        self._report(Prepared(tuple(self._dispatcher.filters())))

    async def execute(self, command: Command) -> None:
        """Execute a command of the gateway; raise the error that ends the service."""
        match command:
            case Command.GO:
                await self._go()
                self._report(Ready())
            case Command.PAUSE:
                await self._pause()
                self._report(Paused())
            case Command.STOP:
                await self._stop()

    async def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: MessageProperties = NO_PROPERTIES,
    ) -> None:
        """Publish for the service, within its rights."""
        if self._link is None or not self._rights.allow(topic):
            raise PublishError(
                f"cannot publish to {topic}: not in [mqtt] publish of microservice.toml"
            )
        await self._link.publish(topic, payload, qos, retain, with_inherited(properties))

    async def publish_dead_letter(self, payload: bytes, properties: MessageProperties) -> None:
        """Give a message to the gateway, which keeps it; PublishError when it does not."""
        if self._link is None:
            raise PublishError("cannot keep a dead letter: not connected to the broker")
        topic = dead_letter_topic(self._launch.info.container_id)
        await self._link.publish(topic, payload, 1, False, properties)

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Acknowledge messages to the broker."""
        if self._link is not None:
            self._link.acknowledge(packet_ids)

    def give_up(self, why: str) -> None:
        """End the process at once: a handler cannot be ended."""
        logger.error("%s", why)
        self._report(Failed(why))
        os._exit(1)  # the gateway ends what it has started

    # Called by the link ------------------------------------------------------------------------

    def arrived(self, message: Incoming) -> None:
        """Take a message."""
        self._dispatcher.arrived(message)

    def connected(self, *, session_present: bool) -> None:
        """Note that the broker has accepted."""
        self._dispatcher.connected(session_present=session_present)

    def disconnected(self) -> None:
        """Note that the connection has ended."""
        self._dispatcher.disconnected()

    async def _go(self) -> None:
        self._dispatcher.hold()  # messages of a stored session arrive before on_start is done
        if self._link is None and self._launch.login is not None:
            self._link = BrokerLink(self._launch.login, self._launch.queue_limit, self)
        if self._link is not None:
            self._report(Doing("connecting to the broker"))
            await self._link.open()
        if not self._started:
            self._started = True
            if self._service.triggers.start:
                self._report(Doing("waiting for on_start"))
            for handler in self._service.triggers.start:
                await handler()
        if self._link is not None:
            self._report(Doing("subscribing at the broker"))
            filters = self._dispatcher.filters(echo=self._launch.echo)
            await self._link.subscribe(filters, self._launch.stale)
        self._dispatcher.release()

    async def _pause(self) -> None:
        """Finish and acknowledge running messages, then disconnect from the broker."""
        self._dispatcher.hold()
        await self._dispatcher.settle(self._launch.stop_s / 2)
        if self._link is not None:
            await self._link.close()

    async def _stop(self) -> None:
        self._dispatcher.hold()
        await self._dispatcher.settle(self._launch.stop_s / 2)
        for handler in self._service.triggers.stop:
            try:
                await handler()
            except Exception:
                logger.exception("on_stop failed")
        if self._link is not None:
            await self._link.close()
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        for close in self._service.triggers.closed:
            await close()
        if self._counting is not None:
            self._counting.cancel()
        self._report(self._counts())

    async def _count(self) -> None:
        last = Counts()
        while True:
            await asyncio.sleep(COUNTS_INTERVAL_S)
            now = self._counts()
            if now != last:
                self._report(now)
                last = now

    def _counts(self) -> Counts:
        counters = self._counters
        return Counts(
            counters.handled, counters.failed, counters.dropped,
            counters.retried, counters.dead, counters.overdue,
        )  # fmt: skip


class _Server(uvicorn.Server):
    """A server that the gateway stops, not signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not handle signals."""
        yield


def _make_server(app: Any, grace_s: float, *, sockets: bool) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="websockets-sansio" if sockets else "none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=HEADER_LIMIT_BYTES,
            timeout_graceful_shutdown=max(1, int(grace_s)),
        )
    )
