"""Prepares, runs, pauses and stops one service, as the gateway commands."""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from microservice.broker_link import BrokerLink
from microservice.control import (
    Command,
    Counts,
    Doing,
    Failed,
    Launch,
    Measured,
    Paused,
    Prepared,
    Ready,
    Report,
    SettingsChange,
)
from microservice.deliveries import HandlerQueue
from microservice.dispatch import Dispatcher, make_message
from microservice.errors import DamagedStoreError, PublishError, RequestTimeoutError
from microservice.handling import HandlerLimits, ServiceCounters
from microservice.http.asgi import App
from microservice.http.uvicorn_parts import Config, Server
from microservice.message import Message
from microservice.mqtt.current import with_inherited
from microservice.mqtt.dead_letters import dead_letter_topic
from microservice.mqtt.requests import PendingRequests, response_topic
from microservice.mqtt.retry import RetryPolicy
from microservice.mqtt.rights import TopicRights
from microservice.mqtt.unfinished import FILE_NAME as UNFINISHED_FILE
from microservice.mqtt.unfinished import UnfinishedMessages
from microservice.mqtt.wire import NO_PROPERTIES, FilterOptions, Incoming, MessageProperties
from microservice.schedules.runner import ScheduleRunner
from microservice.service import Service

logger = logging.getLogger(__name__)

COUNTS_INTERVAL_S = 1.0
METRICS_EVERY = 2  # intervals: a gateway reads those of many containers
HEADER_LIMIT_BYTES = 64 * 1024
SOCKET_LIMIT_BYTES = 1024 * 1024  # of one WebSocket message
KEEP_ALIVE_S = 60  # of HTTP connections; the gateway closes its own far sooner
STORE_FILE = "store.db"  # in the data folder, where the process starts


class ServiceLifecycle:
    """Runs one service in this process; report() sends reports to the gateway."""

    def __init__(self, service: Service, launch: Launch, report: Callable[[Report], None]) -> None:
        self._service, self._launch, self._report = service, launch, report
        self._counters = ServiceCounters()
        limits = HandlerLimits(launch.handler_s, launch.memory_mib)
        triggers = service.triggers
        self._dispatcher = Dispatcher(
            triggers.messages,
            HandlerQueue(launch.concurrency, launch.queue_limit),
            self._counters,
            limits,
            RetryPolicy(launch.retry_tries, launch.retry_first_s, launch.retry_max_s),
            Path(launch.code),
            self,
            UnfinishedMessages(Path(UNFINISHED_FILE).absolute()),
        )
        self._rights = TopicRights(launch.publish)
        self._schedules = ScheduleRunner(triggers.schedules, service.state, self._counters, limits)
        self._requests = PendingRequests(response_topic(launch.info.container_id))
        self._store = Path(STORE_FILE).absolute()
        self._link: BrokerLink | None = None
        self._started = self._retired = False
        self._may_publish = asyncio.Event()  # cleared while another process may take over
        self._server = _make_server(
            triggers.make_application(self._counters)
            if triggers.make_application is not None
            else App(triggers.routes, triggers.sockets, self._counters, limits),
            launch.stop_s / 2,
            sockets=triggers.has_sockets or bool(triggers.sockets),
        )
        # an error that ends the service, although no command caused it
        self.fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._serving: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Serve HTTP; report the topics of the service."""
        launch = self._launch
        self._service.attach(self, launch.env, launch.info, launch.settings, launch.secrets)
        self._service.state.attach(self._store, launch.store_mib, self._note_damage)
        await self._service.state.check()
        sock = socket.socket(fileno=self._launch.http_fd)
        self._serving = asyncio.create_task(self._server.serve([sock]), name="http")
        await self._server.listening.wait()
        self._counting = asyncio.create_task(self._count(), name="counts")
        self._report(Prepared(tuple(self._dispatcher.filters())))

    async def execute(self, command: Command | SettingsChange) -> None:
        """Execute a command of the gateway; raise the error that ends the service."""
        match command:
            case SettingsChange(values):
                await self._change_settings(values)
            case Command.GO:
                await self._go()
                self._report(Ready())
            case Command.PAUSE:
                await self._pause()
                self._report(Paused())
            case Command.RETIRE:
                self._retired = True
                self._may_publish.set()
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
        link = self._link_for(topic)
        if self._retired or not self._may_publish.is_set():  # speed: without a coroutine
            await self._wait_for_takeover(topic)
        await link.publish(topic, payload, qos, retain, with_inherited(properties))

    async def request(
        self, topic: str, payload: bytes, properties: MessageProperties, timeout_s: float
    ) -> Message:
        """Publish a message for the service, and return the response to it."""
        link = self._link_for(topic)
        await self._wait_for_takeover(topic)
        await link.add_filter(self._requests.topic, FilterOptions(qos=0, retain_handling=2))
        with self._requests.begin(properties) as (asking, response):
            try:
                async with asyncio.timeout(timeout_s):
                    await link.publish(topic, payload, 1, False, with_inherited(asking))
                    return make_message(await response, {})
            except TimeoutError:
                raise RequestTimeoutError(
                    f"cannot request {topic}: no response within {timeout_s:g} s"
                ) from None

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
        if not self._requests.arrived(message):
            self._dispatcher.arrived(message)

    def arrived_all(self) -> None:
        """Start the handlers of the messages that have arrived."""
        self._dispatcher.start()

    def connected(self, *, session_present: bool) -> None:
        """Note that the broker has accepted."""
        self._dispatcher.connected(session_present=session_present)

    def disconnected(self) -> None:
        """Note that the connection has ended."""
        self._dispatcher.disconnected()

    def _link_for(self, topic: str) -> BrokerLink:
        """Return the link to publish on, within the rights of the service."""
        if self._link is None or not self._rights.allow(topic):
            raise PublishError(
                f"cannot publish to {topic}: not in [mqtt] publish of microservice.toml"
            )
        return self._link

    async def _wait_for_takeover(self, topic: str) -> None:
        """Wait while another process may take over; raise when it has."""
        await self._may_publish.wait()
        if self._retired:
            raise PublishError(
                f"cannot publish to {topic}: another version of this container has taken over"
            )

    def _note_damage(self, error: DamagedStoreError) -> None:
        if not self.fault.done():
            self.fault.set_exception(error)
            self.fault.exception()  # an await is possible, not required

    async def _change_settings(self, values: Mapping[str, Any]) -> None:
        if not self._service.settings.replace(values):
            return
        for handler in self._service.triggers.settings:
            try:
                await handler()
            except (Exception, SystemExit):  # sys.exit() ends no service
                self._counters.failed += 1
                logger.exception("on_settings failed")

    async def _go(self) -> None:
        self._dispatcher.hold()  # messages of a stored session arrive before on_start is done
        if self._link is None and self._launch.login is not None:
            self._link = BrokerLink(self._launch.login, self._launch.queue_limit, self)
        if self._link is not None:
            self._report(Doing("connecting to the broker"))
            await self._link.open()
        self._may_publish.set()
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
        await self._schedules.start()

    async def _pause(self) -> None:
        """Finish and acknowledge running messages, then disconnect from the broker."""
        await self._settle(self._launch.drain_s)
        self._may_publish.clear()
        if self._link is not None:
            await self._link.close()

    async def _settle(self, limit_s: float) -> None:
        """Start nothing more; return when nothing runs, or the time is over."""
        self._dispatcher.hold()
        await asyncio.gather(self._dispatcher.settle(limit_s), self._schedules.stop(limit_s))

    async def _stop(self) -> None:
        self._may_publish.set()
        await self._settle(self._launch.stop_s / 2)
        for handler in self._service.triggers.stop:
            try:
                await handler()
            except Exception:
                logger.exception("on_stop failed")
        self._dispatcher.close()
        if self._link is not None:
            await self._link.close()
        self._server.stop()
        if self._serving is not None:
            await self._serving
        for close in self._service.triggers.closed:
            await close()
        if self._counting is not None:
            self._counting.cancel()
        await self._service.state.close()
        self._report(self._counts())

    async def _count(self) -> None:
        last, metrics = Counts(), self._service.metrics
        for turn in itertools.count(1):
            await asyncio.sleep(COUNTS_INTERVAL_S)
            if metrics.changed and turn % METRICS_EVERY == 0:
                metrics.changed = False
                self._report(Measured(metrics.samples()))
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


class _Server(Server):
    """A server that the gateway stops, not signals."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._is_stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections."""
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        """Wait for stop(); uvicorn wakes an idle process ten times a second to look."""
        await self.on_tick(0)
        await self._is_stopping.wait()

    def stop(self) -> None:
        """Accept no more requests; open ones get a moment to end."""
        self.should_exit = True
        self._is_stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not handle signals."""
        yield


def _make_server(app: Any, grace_s: float, *, sockets: bool) -> _Server:
    return _Server(
        Config(
            app,
            http="h11",
            ws="websockets-sansio" if sockets else "none",  # it costs memory
            ws_max_size=SOCKET_LIMIT_BYTES,
            ws_per_message_deflate=False,  # on one machine it costs memory and saves nothing
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=HEADER_LIMIT_BYTES,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, int(grace_s)),
        )
    )
