"""Connects to the gateway's broker, on asyncio's loop."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from microservice.control import Login
from microservice.errors import PublishError, ServiceError
from microservice.mqtt.client import ClientLogin, MqttClient
from microservice.mqtt.wire import (
    NO_PROPERTIES,
    Answer,
    FilterOptions,
    Incoming,
    MessageProperties,
    WireError,
)

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 60
READ_BYTES = 64 * 1024
PING_S = 30.0  # a broker that answers no ping until the next one is given up
ANSWER_S = 5.0  # CONNACK and SUBACK over a Unix socket of the same machine
RETRY_FIRST_S, RETRY_CAP_S = 0.1, 5.0
SESSION_FOR_EVER = 0xFFFF_FFFF  # MQTT 5, 3.1.2.11.2: the gateway drops it with the container
TAKEN_OVER = 0x8E
FAILURE = 0x80  # reason codes from here on are refusals
REASONS = {
    0x10: "no subscribers",
    0x83: "refused by the gateway",
    0x87: "not authorized",
    0x90: "not a topic",
    0x91: "packet id in use",
    0x97: "quota exceeded",
}


class LinkEvents(Protocol):
    """Takes what comes over the link."""

    def arrived(self, message: Incoming) -> None:
        """Take a message."""

    def arrived_all(self) -> None:
        """Note that all messages of one read have arrived."""

    def connected(self, *, session_present: bool) -> None:
        """Note that the broker has accepted."""

    def disconnected(self) -> None:
        """Note that the connection has ended."""


class BrokerLink:
    """Stays connected between open() and close(); the broker keeps the session meanwhile."""

    def __init__(self, login: Login, window: int, events: LinkEvents) -> None:
        self._path, self._events = login.socket, events
        self._client = MqttClient(
            ClientLogin(
                login.username, login.username, login.password,
                KEEP_ALIVE_S, window, SESSION_FOR_EVER,
            ),
            self,
        )  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self._up = asyncio.Event()  # the broker has accepted
        self._writable = asyncio.Event()
        self._writable.set()
        self._socket: _Socket | None = None
        self._is_flushing = False
        self._filters: dict[str, FilterOptions] = {}
        self._last_error = "no answer"
        self._given_up = self._accepted = False
        self._staying: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Return when connected; stay so until close()."""
        if self._staying is not None and not self._staying.done():
            return
        self._given_up = False
        self._staying = asyncio.create_task(self._stay_connected(), name="link")
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._up.wait()
        except TimeoutError:
            await self.close()
            raise ServiceError(f"cannot connect to the broker: {self._last_error}") from None

    async def subscribe(self, filters: Mapping[str, FilterOptions], stale: Sequence[str]) -> None:
        """Subscribe to filters, unsubscribe from stale ones; return when done."""
        old = [topic for topic in stale if topic not in filters]
        if old:
            await self._ask(lambda done: self._client.unsubscribe(old, done))
        self._filters = dict(filters)
        if not filters:
            return
        asked = list(filters.items())
        answer = await self._ask(lambda done: self._client.subscribe(asked, done))
        for (topic, _), code in zip(asked, answer.codes, strict=True):
            if code >= FAILURE:
                raise ServiceError(f"cannot subscribe to {topic}: {describe_code(code)}")

    async def add_filter(self, topic: str, options: FilterOptions) -> None:
        """Subscribe to one more filter, unless it is subscribed to; return when done."""
        if topic in self._filters:
            return
        answer = await self._ask(lambda done: self._client.subscribe([(topic, options)], done))
        if answer.codes[0] >= FAILURE:
            raise ServiceError(f"cannot subscribe to {topic}: {describe_code(answer.codes[0])}")
        self._filters[topic] = options

    async def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: MessageProperties = NO_PROPERTIES,
    ) -> None:
        """Return when the broker has it (QoS 1) or it has been sent (QoS 0)."""
        if not qos:
            await self._writable.wait()
            self._client.publish_qos0(topic, payload, retain=retain, properties=properties)
            self._flush_soon()
            return
        end: asyncio.Future[Answer | None] = self._loop.create_future()
        self._client.publish(
            topic,
            payload,
            retain=retain,
            properties=properties,
            done=lambda answer: None if end.done() else end.set_result(answer),
        )
        self._flush_soon()
        answer = await end
        if answer is None:
            raise PublishError(
                f"cannot publish to {topic}: the connection to the broker was closed"
            )
        if answer.codes[0] >= FAILURE:
            why = answer.reason or describe_code(answer.codes[0])
            raise PublishError(f"cannot publish to {topic}: {why}")

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Send PUBACKs."""
        self._client.acknowledge(packet_ids)
        self._flush_soon()

    async def close(self) -> None:
        """Disconnect from the broker, which keeps the session; return when disconnected."""
        if self._staying is not None:
            self._staying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._staying
            self._staying = None
        if self._socket is not None:
            self._client.disconnect()
            self._flush()
            self._socket.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    await self._socket.closed.wait()
        self._client.give_up()

    # Called by the client's state, on the loop -----------------------------------------------

    def connected(self, answer: Answer) -> None:
        """Take the CONNACK."""
        if answer.codes[0]:
            self._last_error = answer.reason or describe_code(answer.codes[0])
            return
        self._events.connected(session_present=answer.session_present)
        if self._filters and not answer.session_present:
            self._client.subscribe(list(self._filters.items()), _ignore)
        self._accepted = True
        self._up.set()

    def received(self, message: Incoming) -> None:
        """Take a message."""
        self._events.arrived(message)

    def disconnected(self, code: int) -> None:
        """Take a DISCONNECT."""
        # another process has taken the session over; a reconnect would take it back
        self._given_up = code == TAKEN_OVER

    # Called by the socket ----------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes from the broker; send at once what they cause."""
        self._is_flushing = True  # below, in one write
        try:
            self._client.feed(data)
            self._events.arrived_all()
        except WireError as exc:
            self._last_error = str(exc)
            logger.error("%s", exc)  # noqa: TRY400  # the reason is all there is
            if self._socket is not None:
                self._socket.abort()
        finally:
            self._flush()

    def set_writable(self, *, writable: bool) -> None:
        """Note whether the socket takes more bytes now."""
        (self._writable.set if writable else self._writable.clear)()

    def lost(self) -> None:
        """Note that the socket is closed."""
        self._socket = None
        self._up.clear()
        self._writable.set()
        self._client.lost()
        self._events.disconnected()

    # The connection ------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        delay_s = RETRY_FIRST_S
        while not self._given_up:
            try:
                _, protocol = await self._loop.create_unix_connection(
                    lambda: _Socket(self), self._path
                )
            except OSError as exc:
                self._last_error = str(exc)
            else:
                if await self._run(protocol):
                    delay_s = RETRY_FIRST_S
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_CAP_S)

    async def _run(self, sock: "_Socket") -> bool:
        """Keep one connection until it is lost; return whether the broker accepted it."""
        self._socket, self._accepted = sock, False
        self._client.connect()
        self._flush()
        wait_s = ANSWER_S
        while not await sock.is_closed(wait_s):
            if not self._up.is_set() or not sock.heard_since():
                sock.abort()
            else:
                self._client.ping()
                self._flush()
                wait_s = PING_S
        return self._accepted

    async def _ask(self, request: Callable[[Callable[[Answer | None], None]], None]) -> Answer:
        if not self._up.is_set():
            raise ServiceError("cannot subscribe: not connected to the broker")
        end: asyncio.Future[Answer | None] = self._loop.create_future()
        request(lambda answer: None if end.done() else end.set_result(answer))
        self._flush_soon()
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await end
        except TimeoutError:
            raise ServiceError("cannot subscribe: no answer from the broker") from None
        if answer is None:
            raise ServiceError("cannot subscribe: the connection to the broker is lost")
        return answer

    def _flush_soon(self) -> None:
        # speed: what one turn of the loop causes leaves in one write
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        if self._socket is not None:
            self._socket.write(self._client.take_output())


class _Socket(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self, link: BrokerLink) -> None:
        self.closed = asyncio.Event()
        self._link = link
        self._heard = True
        # speed: else asyncio takes 256 KiB from the allocator for each read
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = True
        self._link.feed(bytes(self._buffer[:nbytes]))

    def pause_writing(self) -> None:
        self._link.set_writable(writable=False)

    def resume_writing(self) -> None:
        self._link.set_writable(writable=True)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self.closed.set()
        self._link.lost()

    def write(self, output: bytes) -> None:
        if output and self._transport is not None:
            self._transport.write(output)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def heard_since(self) -> bool:
        """Return whether anything came since the last call."""
        heard, self._heard = self._heard, False
        return heard

    async def is_closed(self, within_s: float) -> bool:
        """Return whether it is closed, after so long at the latest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.closed.wait()
        return self.closed.is_set()


def describe_code(code: int) -> str:
    """Return the words of a reason code."""
    return REASONS.get(code, f"reason code {code:#x}")


def _ignore(_: Answer | None) -> None:
    """Do nothing: the next connection subscribes again."""
