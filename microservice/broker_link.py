"""Connects to the gateway's broker, on asyncio's loop."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from microservice.control import Login
from microservice.errors import PublishError, ServiceError
from microservice.mqtt.properties import to_client
from microservice.mqtt.wire import NO_PROPERTIES, MessageProperties

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 60
MISC_S = 1.0  # how often paho looks at its keep-alive
ANSWER_S = 5.0  # CONNACK and SUBACK over a Unix socket of the same machine
RETRY_FIRST_S, RETRY_CAP_S = 0.1, 5.0
SESSION_FOR_EVER = 0xFFFF_FFFF  # MQTT 5, 3.1.2.11.2: the gateway drops it with the container
TAKEN_OVER = 0x8E
PUBLISH_QUEUE = 1000  # messages waiting for the broker; more are refused
RETAINED_IF_NEW = 1  # retain handling: a session that lived on gets no retained messages again


class BrokerLink:
    """Stays connected between open() and close(); the broker keeps the session meanwhile."""

    def __init__(
        self,
        login: Login,
        window: int,
        on_message: Callable[[MQTTMessage], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._login, self._window = login, window
        self._on_message, self._on_lost = on_message, on_lost
        self._loop = asyncio.get_running_loop()
        self._up = asyncio.Event()  # the broker has accepted
        self._down = asyncio.Event()  # there is no socket
        self._down.set()
        self._filters: dict[str, int] = {}
        self._publishes: dict[int, tuple[int, asyncio.Future[ReasonCode]]] = {}  # id: QoS, end
        self._answers: dict[int, asyncio.Future[Sequence[ReasonCode]]] = {}
        self._last_error = "no answer"
        self._given_up = False
        self._staying: asyncio.Task[None] | None = None
        self._client = self._make_client()

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

    async def subscribe(self, filters: Mapping[str, int], stale: Sequence[str]) -> None:
        """Subscribe to filters (with their QoS), unsubscribe from stale ones; return when done."""
        old = [topic for topic in stale if topic not in filters]
        if old:
            await self._answered(self._client.unsubscribe(old))
        self._filters = dict(filters)
        if not filters:
            return
        codes = await self._answered(self._client.subscribe(_subscriptions(filters)))
        for topic, code in zip(filters, codes, strict=True):
            if code.is_failure:
                raise ServiceError(f"cannot subscribe to {topic}: {code.getName().lower()}")

    async def add_filter(self, topic: str, qos: int) -> None:
        """Subscribe to one more filter, unless it is subscribed to; return when done."""
        if topic in self._filters:
            return
        codes = await self._answered(self._client.subscribe(_subscriptions({topic: qos})))
        if codes[0].is_failure:
            raise ServiceError(f"cannot subscribe to {topic}: {codes[0].getName().lower()}")
        self._filters[topic] = qos

    async def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: MessageProperties = NO_PROPERTIES,
    ) -> None:
        """Return when the broker has it (QoS 1) or it has been sent (QoS 0)."""
        sent = self._client.publish(topic, payload, qos, retain, to_client(properties))
        if sent.rc is MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise PublishError(f"cannot publish to {topic}: {PUBLISH_QUEUE} messages wait already")
        if sent.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS and qos == 0:
            raise PublishError(f"cannot publish to {topic}: not connected to the broker")
        end = self._loop.create_future()
        self._publishes[sent.mid] = qos, end
        try:
            code = await end
        finally:
            del self._publishes[sent.mid]
        if code.is_failure:
            raise PublishError(f"cannot publish to {topic}: {code.getName().lower()}")

    def acknowledge(self, packet_id: int) -> None:
        """Send a PUBACK."""
        self._client.ack(packet_id, 1)

    async def close(self) -> None:
        """Disconnect from the broker, which keeps the session; return when disconnected."""
        if self._staying is not None:
            self._staying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._staying
            self._staying = None
        self._client.disconnect()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._down.wait()
        self._give_up_publishes(least_qos=1)

    async def _stay_connected(self) -> None:
        delay_s = RETRY_FIRST_S
        while not self._given_up:
            self._connect()
            while not self._down.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(MISC_S):
                        await self._down.wait()
                self._client.loop_misc()
                if self._up.is_set():
                    delay_s = RETRY_FIRST_S
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_CAP_S)

    def _connect(self) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
        properties.SessionExpiryInterval = SESSION_FOR_EVER
        properties.ReceiveMaximum = self._window
        try:
            self._client.connect(
                self._login.socket, keepalive=KEEP_ALIVE_S, clean_start=False, properties=properties
            )
        except OSError as exc:
            self._last_error = str(exc)

    async def _answered(self, request: tuple[MQTTErrorCode, int | None]) -> Sequence[ReasonCode]:
        code, packet_id = request
        if code is not MQTTErrorCode.MQTT_ERR_SUCCESS or packet_id is None:
            raise ServiceError("cannot subscribe: not connected to the broker")
        answer: asyncio.Future[Sequence[ReasonCode]] = self._loop.create_future()
        self._answers[packet_id] = answer
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError:
            raise ServiceError("cannot subscribe: no answer from the broker") from None
        finally:
            del self._answers[packet_id]

    def _make_client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._login.username,
            protocol=MQTTProtocolVersion.MQTTv5,
            transport="unix",
            manual_ack=True,
        )
        client.username_pw_set(self._login.username, self._login.password)
        client.max_queued_messages_set(PUBLISH_QUEUE)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        client.on_publish = self._published
        client.on_subscribe = client.on_unsubscribe = self._subscribed
        client.on_socket_open = self._opened
        client.on_socket_close = self._closed
        client.on_socket_register_write = self._wants_write
        client.on_socket_unregister_write = self._wants_no_write
        return client

    # Called by paho, on the loop -----------------------------------------------------------

    def _opened(self, client: Client, _: Any, sock: Any) -> None:
        self._down.clear()
        self._loop.add_reader(sock, client.loop_read)

    def _closed(self, _: Client, __: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._down.set()

    def _wants_write(self, client: Client, _: Any, sock: Any) -> None:
        self._loop.add_writer(sock, client.loop_write)

    def _wants_no_write(self, _: Client, __: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _connected(
        self, client: Client, _: Any, flags: ConnectFlags, code: ReasonCode, __: Any
    ) -> None:
        if code.is_failure:
            self._last_error = code.getName().lower()
            return
        if self._filters and not flags.session_present:
            client.subscribe(_subscriptions(self._filters))
        self._up.set()

    def _disconnected(
        self, _: Client, __: Any, flags: DisconnectFlags, code: ReasonCode, ___: Any
    ) -> None:
        if self._up.is_set():
            logger.debug("disconnected from the broker: %s", code)
        self._up.clear()
        # another process has taken the session over; a reconnect would take it back
        self._given_up = flags.is_disconnect_packet_from_server and code.value == TAKEN_OVER
        self._give_up_publishes(least_qos=0)
        self._on_lost()

    def _message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self._on_message(message)

    def _published(self, _: Client, __: Any, packet_id: int, code: ReasonCode, ___: Any) -> None:
        if packet_id in self._publishes:
            _settle(self._publishes[packet_id][1], code)

    def _subscribed(
        self, _: Client, __: Any, packet_id: int, codes: Sequence[ReasonCode], ___: Any
    ) -> None:
        if packet_id in self._answers:
            _settle(self._answers[packet_id], codes)

    def _give_up_publishes(self, least_qos: int) -> None:
        # at QoS 1 paho sends again after a reconnect; at QoS 0 unsent messages are lost
        for qos, end in self._publishes.values():
            if (qos >= least_qos if least_qos else qos == 0) and not end.done():
                end.set_exception(
                    PublishError("cannot publish: the connection to the broker is lost")
                )


def _settle(end: asyncio.Future[Any], value: Any) -> None:
    if not end.done():
        end.set_result(value)


def _subscriptions(filters: Mapping[str, int]) -> list[tuple[str, SubscribeOptions]]:
    return [
        (topic, SubscribeOptions(qos=qos, retainHandling=RETAINED_IF_NEW))
        for topic, qos in filters.items()
    ]
