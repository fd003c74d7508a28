"""Runs one connection to the cloud's broker: paho-mqtt on the event loop.

Each connection is a new paho client, because unacknowledged messages are in the spool, which sends
them again in order. The session at the broker continues: it stores messages of QoS 1 while this
node is offline, and inbound.py acknowledges each of them explicitly. MQTT 5 gives reasons for its
refusals; a broker without MQTT 5 gets MQTT 3.1.1. An HTTP proxy carries MQTT in WebSocket frames,
at /mqtt.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.errors import CloudRefused, MqttVersionUnsupported, UplinkLost
from gateway.uplink.endpoint import PUBACK_WINDOW, Endpoint, watch_socket
from gateway.uplink.inbound import CloudMessage
from hardware.boot_clock import boot_time
from settings.secret import Secret

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 10  # the cloud detects a lost node within 15 s, before its callers time out
SESSION_EXPIRY_S = 7 * 86_400  # the broker may store commands so long for an offline node
CLOSE_PING_S = 3  # behind a proxy: another node gets the SEP within 10 s of a loss
SLEPT_S = 1.5 * KEEP_ALIVE_S  # so long a sleep has ended the connection (MQTT 3.1.2-22)
CONNECT_TIMEOUT_S = 4.0  # below the 5 s in which a gateway stops
SET_UP_TIMEOUT_S = 10.0
MISC_INTERVAL_S = 1.0
WEBSOCKET_PATH = "/mqtt"

# reasons that a second attempt would not change, by paho's names
_FINAL = frozenset(
    {"Bad user name or password", "Not authorized", "Client identifier not valid", "Banned"}
)
_UNSUPPORTED_VERSION = "Unsupported protocol version"
_KEEP_ALIVE_TIMEOUT = "Keep alive timeout"


@dataclass(frozen=True, slots=True)
class ConnackLimits:
    """The limits of the broker, from its CONNACK; 0 bytes are no limit."""

    receive_maximum: int = 65_535
    packet_bytes: int = 0
    maximum_qos: int = 2
    retain_available: bool = True


@dataclass(frozen=True, slots=True)
class ConnectionEnd:
    """The end of a connection and its cause."""

    why: str
    by_peer: bool = False
    reason: int | None = None  # of the broker's DISCONNECT


@dataclass(frozen=True, slots=True)
class ConnectionCallbacks:
    """The functions that a connection calls."""

    on_message: "Callable[[CloudConnection, CloudMessage], object]" = lambda *_: None
    on_puback: Callable[[int, int, str], object] = lambda *_: None  # id, reason code, its name


class CloudConnection:
    """An MQTT connection; callbacks run on the event loop and must not block."""

    def __init__(
        self,
        client_id: str,
        password: Secret,
        endpoint: Endpoint,
        callbacks: ConnectionCallbacks | None = None,
        *,
        five: bool = True,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        """Prepare a connection; the clock counts seconds, also while the machine sleeps."""
        self._callbacks = callbacks or ConnectionCallbacks()
        self.server = ConnackLimits()
        self._endpoint, self._five = endpoint, five
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self.closed: asyncio.Future[ConnectionEnd] = self._loop.create_future()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._unsent: dict[int, int] = {}  # QoS 0, bytes: no acknowledgement will come
        self.unsent_bytes = 0
        self._subscribed: dict[int, asyncio.Future[list[str]]] = {}
        self._misc: asyncio.TimerHandle | None = None
        self._clock = clock
        # the loop's clock stands still in a suspend
        self._slept_before_s = clock() - self._loop.time()
        self._client = _Client(client_id, endpoint, five=five)
        self._client.username_pw_set(client_id, password.reveal())
        self._set_callbacks()

    async def open(self) -> None:
        """Connect and log in.

        Raises:
            CloudRefused: the broker refuses this node.
            MqttVersionUnsupported: it seems to lack this version of MQTT.
            UplinkLost: it cannot be reached or is overloaded.
        """
        endpoint = self._endpoint
        dialled: asyncio.Future[None] = self._loop.create_future()

        def dial() -> None:  # resolving, connecting and the TLS handshake block
            try:
                self._client.log_in(endpoint.host, endpoint.port)
                self._soon(_resolve, dialled, None)
            except (OSError, ValueError) as exc:
                self._soon(_resolve, dialled, UplinkLost(f"cannot reach {endpoint}: {exc}"))

        threading.Thread(target=dial, name="dial", daemon=True).start()
        try:
            async with asyncio.timeout(SET_UP_TIMEOUT_S):
                await dialled
                self._tick()
                await self._connected
        except TimeoutError as exc:
            raise UplinkLost(f"cannot reach {endpoint}: no answer") from exc

    async def subscribe(self, filters: Sequence[str]) -> list[str]:
        """Subscribe at QoS 1; return, for each filter, the reason of its refusal, or ""."""
        code, packet_id = self._client.subscribe([(f, 1) for f in filters])
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or packet_id is None:
            raise UplinkLost("cannot subscribe: connection lost")
        done: asyncio.Future[list[str]] = self._loop.create_future()
        self._subscribed[packet_id] = done
        try:
            async with asyncio.timeout(SET_UP_TIMEOUT_S):
                return await done
        except TimeoutError as exc:
            raise UplinkLost("cannot subscribe: no answer") from exc

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False) -> int:
        """Send a message and return its packet id; on_puback reports its arrival.

        ValueError when MQTT cannot carry it.
        """
        retain = retain and self.server.retain_available
        packet_id = self._client.publish(topic, payload, qos, retain).mid
        if qos == 0:
            self._unsent[packet_id] = len(payload)
            self.unsent_bytes += len(payload)
        return packet_id

    def acknowledge(self, packet_id: int) -> None:
        """Acknowledge a message of QoS 1 that on_message has taken."""
        self._client.ack(packet_id, 1)

    def watch(self, *, closely: bool) -> None:
        """Let the system detect soon, or within half a minute, that packets vanish.

        A proxy answers the system's probes in the place of the cloud: MQTT has to ask then.
        """
        sock = self._client.socket()
        if self._endpoint.proxy is not None:
            self._client.watch(closely=closely)
        elif isinstance(sock, socket.socket):
            watch_socket(sock, closely=closely)

    @property
    def unsent(self) -> int:
        """The number of QoS 0 messages that wait for the socket."""
        return len(self._unsent)

    async def close(self) -> None:
        """Send a DISCONNECT if the connection is open, and close it."""
        self._client.disconnect()
        if self._client.socket() is not None and not self.closed.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.shield(self.closed)
        self._stop_ticking()

    # callbacks of paho -----------------------------------------------------------------

    def _set_callbacks(self) -> None:
        client = self._client
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_socket_open = lambda _c, _u, s: self._soon(self._watch, s)
        client.on_socket_close = lambda _c, _u, s: self._soon(self._unwatch, s.fileno())
        client.on_socket_register_write = lambda _c, _u, s: self._soon(self._want_write, s)
        client.on_socket_unregister_write = lambda _c, _u, s: self._soon(
            self._loop.remove_writer, s.fileno()
        )

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, properties: Any) -> None:
        error = f"cannot log in to the cloud's broker: {reason}"
        if not reason.is_failure:
            self.server = _read_limits(properties)
            _resolve(self._connected, None)
        elif self._five and reason.getName() == _UNSUPPORTED_VERSION:
            _resolve(self._connected, MqttVersionUnsupported(error))
        elif reason.getName() in _FINAL:
            _resolve(self._connected, CloudRefused(error))
        else:
            _resolve(self._connected, UplinkLost(error))

    def _on_disconnect(self, _c: Any, _u: Any, flags: Any, reason: ReasonCode, _p: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            closed = ConnectionEnd(f"the cloud's broker closed: {reason}", True, reason.value)
        elif reason.getName() == _KEEP_ALIVE_TIMEOUT:
            closed = ConnectionEnd("the connection to the cloud's broker was lost: no answer")
        else:
            closed = ConnectionEnd("the connection to the cloud's broker was lost", True)
        self._soon(self._end, closed)

    def _on_subscribe(
        self, _c: Any, _u: Any, packet_id: int, reasons: list[ReasonCode], _p: Any
    ) -> None:
        done = self._subscribed.pop(packet_id, None)
        if done is not None and not done.done():
            done.set_result([str(each) if each.is_failure else "" for each in reasons])

    def _on_publish(self, _c: Any, _u: Any, packet_id: int, reason: ReasonCode, _p: Any) -> None:
        size = self._unsent.pop(packet_id, None)
        if size is None:
            self._callbacks.on_puback(
                packet_id, reason.value if reason.is_failure else 0, str(reason)
            )
        else:
            self.unsent_bytes -= size

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        try:
            read = _read_message(message)
        except UnicodeDecodeError:
            logger.warning("cannot take a message from the cloud: its topic is not UTF-8")
            if message.qos:  # otherwise it comes again with each connection
                self.acknowledge(message.mid)
            return
        try:
            self._callbacks.on_message(self, read)
        except Exception:  # a fault in one message may not stop the next ones; it comes again
            logger.exception("cannot take a message from the cloud")

    # the socket on the event loop ------------------------------------------------------

    def _soon(self, call: Callable[..., object], *args: Any) -> None:
        """Run a call in the thread of the loop: at once from there, else in the next iteration."""
        if threading.get_ident() == self._loop_thread:
            call(*args)
        else:
            self._loop.call_soon_threadsafe(call, *args)

    def _watch(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_reader(sock, self._read, sock)

    def _unwatch(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)

    def _want_write(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock, self._client.loop_write)

    def _read(self, sock: Any) -> None:
        try:
            self._client.loop_read()
            # bytes that TLS has already decrypted do not make the socket readable again
            while sock.fileno() >= 0 and hasattr(sock, "pending") and sock.pending():
                self._client.loop_read()
        except Exception as exc:  # of paho, at bytes that are not MQTT
            logger.debug("cannot read from the cloud's broker", exc_info=True)
            self._cut(f"cannot read what the cloud's broker sent: {exc!r:.200}")

    def _cut(self, why: str) -> None:
        """End the connection at once: there is nobody at its other end, or no sense in it."""
        sock = self._client.socket()
        if sock is not None and sock.fileno() >= 0:
            self._unwatch(sock.fileno())
            sock.close()
        self._end(ConnectionEnd(why))

    def _tick(self) -> None:
        slept_s = self._clock() - self._loop.time() - self._slept_before_s
        if slept_s > SLEPT_S and self._connected.done():
            self._cut(f"the connection to the cloud's broker was lost: slept for {slept_s:.0f} s")
        elif self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS and not self.closed.done():
            self._misc = self._loop.call_later(MISC_INTERVAL_S, self._tick)

    def _stop_ticking(self) -> None:
        if self._misc is not None:
            self._misc.cancel()

    def _end(self, closed: ConnectionEnd) -> None:
        self._stop_ticking()
        lost = UplinkLost(closed.why)
        # a broker without MQTT 5 may close without a CONNACK
        _resolve(
            self._connected,
            MqttVersionUnsupported(closed.why) if self._five and closed.by_peer else lost,
        )
        for waiting in self._subscribed.values():
            if not waiting.done():
                waiting.set_exception(lost)
                waiting.exception()  # no task may be waiting for it any more
        if self._connected.done() and not self._connected.cancelled():
            self._connected.exception()
        if not self.closed.done():
            self.closed.set_result(closed)


class _Client(paho.Client):
    """A paho client that connects through a proxy, if there is one."""

    def __init__(self, client_id: str, endpoint: Endpoint, *, five: bool) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if five else False,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            transport="websockets" if endpoint.proxy else "tcp",
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._endpoint, self._five = endpoint, five
        self._agreed_s: int | None = None  # the keep-alive
        if endpoint.proxy:
            self.ws_set_options(path=WEBSOCKET_PATH)
        if endpoint.tls is not None:
            self.tls_set_context(endpoint.tls())
        self.connect_timeout = CONNECT_TIMEOUT_S
        self.max_inflight_messages_set(PUBACK_WINDOW)

    def watch(self, *, closely: bool) -> None:
        """Ask the broker after a shorter silence than agreed, or after the agreed one.

        The connection ends after as much silence again.
        """
        if self._agreed_s is None:
            self._agreed_s = self._keepalive  # in CONNECT, or in the answer
        shorter_s = min(CLOSE_PING_S, self._agreed_s or CLOSE_PING_S)
        self._keepalive = shorter_s if closely else self._agreed_s

    def log_in(self, host: str, port: int) -> None:
        """Connect and resume the session of the previous connection."""
        if not self._five:  # 3.1.1 has clean_session, in the constructor
            self.connect(host, port, KEEP_ALIVE_S)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self.connect(host, port, KEEP_ALIVE_S, clean_start=False, properties=properties)

    def _create_socket_connection(self) -> socket.socket:
        return self._endpoint.connect(CONNECT_TIMEOUT_S)


def _read_message(message: paho.MQTTMessage) -> CloudMessage:
    expiry_s = getattr(message.properties, "MessageExpiryInterval", None)  # of MQTT 5
    return CloudMessage(message.topic, bytes(message.payload), message.qos, message.mid, expiry_s)


def _read_limits(properties: Any) -> ConnackLimits:
    default = ConnackLimits()
    return ConnackLimits(
        getattr(properties, "ReceiveMaximum", default.receive_maximum),
        getattr(properties, "MaximumPacketSize", default.packet_bytes),
        getattr(properties, "MaximumQoS", default.maximum_qos),
        bool(getattr(properties, "RetainAvailable", default.retain_available)),
    )


def _resolve(future: asyncio.Future[None], exc: Exception | None) -> None:
    if future.done():
        return
    if exc is None:
        future.set_result(None)
    else:
        future.set_exception(exc)
