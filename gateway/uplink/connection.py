"""One connection to the cloud's broker: paho-mqtt, driven by the event loop.

Each connection is a new client: what was not acknowledged is in the spool and goes out again from
there, in order. The session at the broker goes on: what the cloud sends at QoS 1 waits there while
this node is away, and is acknowledged by hand (intake.py). MQTT 5 says why it refuses; a broker
that does not speak it gets MQTT 3.1.1. Through an HTTP proxy MQTT goes in WebSocket frames, at
/mqtt.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.errors import CloudRefused, NotSpoken, UplinkLost
from gateway.uplink.intake import CloudMessage
from gateway.uplink.proxy import Proxy, connect_through
from settings.secret import Secret

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 10  # the cloud knows within 15 s, less than callers wait, that a node is gone
SESSION_EXPIRY_S = 7 * 86_400  # commands wait so long for a node that is away, the broker willing
CONNECT_TIMEOUT_S = 4.0  # below the 5 s in which a gateway stops
SET_UP_TIMEOUT_S = 10.0
MISC_INTERVAL_S = 1.0
PUBACK_WINDOW = 512
WEBSOCKET_PATH = "/mqtt"

# What a second attempt would not change; the names are paho's
_FINAL = frozenset(
    {"Bad user name or password", "Not authorized", "Client identifier not valid", "Banned"}
)
_NOT_SPOKEN = "Unsupported protocol version"
_SILENT = "Keep alive timeout"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How the cloud's broker is reached."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: Proxy | None = None

    @property
    def transport(self) -> str:
        """What carries MQTT, for people."""
        kind = "TLS" if self.tls else "TCP"
        return f"WebSocket over {kind} through proxy {self.proxy}" if self.proxy else kind


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a CONNACK says of the broker; 0 bytes are no limit."""

    receive_maximum: int = 65_535
    packet_bytes: int = 0
    maximum_qos: int = 2
    retain_available: bool = True


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a connection ended."""

    why: str
    by_peer: bool = False
    reason: int | None = None  # of the broker's DISCONNECT


class CloudConnection:
    """An MQTT connection; callbacks run on the event loop and must not block."""

    def __init__(
        self, client_id: str, password: Secret, endpoint: Endpoint, *, five: bool = True
    ) -> None:
        self.on_message: Callable[[CloudMessage], None] = lambda _message: None
        self.on_answered: Callable[[int, int, str], None] = lambda _packet_id, _code, _why: None
        self.server = ServerLimits()
        self._endpoint, self._five = endpoint, five
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self.closed: asyncio.Future[Closed] = self._loop.create_future()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._unsent: dict[int, int] = {}  # QoS 0, bytes: no acknowledgement will come
        self.unsent_bytes = 0
        self._subscribed: dict[int, asyncio.Future[list[str]]] = {}
        self._misc: asyncio.TimerHandle | None = None
        self._client = _Client(client_id, endpoint, five=five)
        self._client.username_pw_set(client_id, password.reveal())
        self._set_callbacks()

    async def open(self) -> None:
        """Connect and log in.

        Raises:
            Refused: the broker does not want this node.
            NotSpoken: it seems not to speak this version of MQTT.
            LinkLost: it cannot be reached or is overloaded.
        """
        host, port = self._endpoint.host, self._endpoint.port
        dialled: asyncio.Future[None] = self._loop.create_future()

        def dial() -> None:  # resolving, connecting and the TLS handshake block
            try:
                self._client.log_in(host, port)
                self._soon(_resolve, dialled, None)
            except (OSError, ValueError) as exc:
                self._soon(_resolve, dialled, UplinkLost(f"cannot reach {host}:{port}: {exc}"))

        threading.Thread(target=dial, name="dial", daemon=True).start()
        try:
            async with asyncio.timeout(SET_UP_TIMEOUT_S):
                await dialled
                self._tick()
                await self._connected
        except TimeoutError as exc:
            raise UplinkLost(f"cannot reach {host}:{port}: no answer") from exc

    async def subscribe(self, filters: Sequence[str]) -> list[str]:
        """Subscribe at QoS 1; return, for each filter, why it was refused, "" if it was not."""
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
        """Send a message and return its packet id; whether it arrives shows later.

        ValueError when it is none that MQTT can carry.
        """
        retain = retain and self.server.retain_available
        packet_id = self._client.publish(topic, payload, qos, retain).mid
        if qos == 0:
            self._unsent[packet_id] = len(payload)
            self.unsent_bytes += len(payload)
        return packet_id

    def acknowledge(self, packet_id: int) -> None:
        """Acknowledge a message of QoS 1 that on_message was given."""
        self._client.ack(packet_id, 1)

    @property
    def unsent(self) -> int:
        """The number of QoS 0 messages that wait for the socket."""
        return len(self._unsent)

    async def close(self) -> None:
        """Say goodbye, if there is someone to say it to."""
        self._client.disconnect()
        if self._client.socket() is not None and not self.closed.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.shield(self.closed)
        self._stop_ticking()

    # what paho reports -----------------------------------------------------------------

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
        told = f"cannot log in to the cloud's broker: {reason}"
        if not reason.is_failure:
            self.server = _read_limits(properties)
            _resolve(self._connected, None)
        elif self._five and reason.getName() == _NOT_SPOKEN:
            _resolve(self._connected, NotSpoken(told))
        elif reason.getName() in _FINAL:
            _resolve(self._connected, CloudRefused(told))
        else:
            _resolve(self._connected, UplinkLost(told))

    def _on_disconnect(self, _c: Any, _u: Any, flags: Any, reason: ReasonCode, _p: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            closed = Closed(f"the cloud's broker closed: {reason}", True, reason.value)
        elif reason.getName() == _SILENT:
            closed = Closed("the connection to the cloud's broker was lost: no answer")
        else:
            closed = Closed("the connection to the cloud's broker was lost", True)
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
            self.on_answered(packet_id, reason.value if reason.is_failure else 0, str(reason))
        else:
            self.unsent_bytes -= size

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        try:
            read = _read_message(message)
        except UnicodeDecodeError:
            logger.warning("cannot take a message from the cloud: its topic is not UTF-8")
            if message.qos:  # or it would come again with each connection
                self.acknowledge(message.mid)
            return
        try:
            self.on_message(read)
        except Exception:  # one message may not end what follows it; it comes again
            logger.exception("cannot take a message from the cloud")

    # the socket on the event loop ------------------------------------------------------

    def _soon(self, call: Callable[..., object], *args: Any) -> None:
        """Run a call on the loop: at once when there already, else as soon as it turns."""
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
            # bytes that TLS has decrypted already do not make the socket readable again
            while sock.fileno() >= 0 and hasattr(sock, "pending") and sock.pending():
                self._client.loop_read()
        except Exception as exc:  # paho's, at what is not MQTT
            logger.debug("cannot read from the cloud's broker", exc_info=True)
            self._unwatch(sock.fileno())
            sock.close()
            self._end(Closed(f"cannot read what the cloud's broker sent: {exc!r:.200}"))

    def _tick(self) -> None:
        if self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS and not self.closed.done():
            self._misc = self._loop.call_later(MISC_INTERVAL_S, self._tick)

    def _stop_ticking(self) -> None:
        if self._misc is not None:
            self._misc.cancel()

    def _end(self, closed: Closed) -> None:
        self._stop_ticking()
        lost = UplinkLost(closed.why)
        # a broker that knows no MQTT 5 may close without a word
        _resolve(self._connected, NotSpoken(closed.why) if self._five and closed.by_peer else lost)
        for waiting in self._subscribed.values():
            if not waiting.done():
                waiting.set_exception(lost)
                waiting.exception()  # nobody may be waiting for it any more
        if self._connected.done() and not self._connected.cancelled():
            self._connected.exception()
        if not self.closed.done():
            self.closed.set_result(closed)


class _Client(paho.Client):
    """Connects through a proxy, where there is one."""

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
        if endpoint.proxy:
            self.ws_set_options(path=WEBSOCKET_PATH)
        if endpoint.tls is not None:
            self.tls_set_context(endpoint.tls)
        self.connect_timeout = CONNECT_TIMEOUT_S
        self.max_inflight_messages_set(PUBACK_WINDOW)

    def log_in(self, host: str, port: int) -> None:
        """Connect, going on with the session of the connection before."""
        if not self._five:  # says so in its constructor
            self.connect(host, port, KEEP_ALIVE_S)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self.connect(host, port, KEEP_ALIVE_S, clean_start=False, properties=properties)

    def _create_socket_connection(self) -> socket.socket:
        host, port, proxy = self._endpoint.host, self._endpoint.port, self._endpoint.proxy
        if proxy is None:
            sock = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
        else:
            sock = connect_through(proxy, host, port, CONNECT_TIMEOUT_S)
        # a PUBACK and the answer behind it are two small packets: 40 ms apart otherwise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


def _read_message(message: paho.MQTTMessage) -> CloudMessage:
    expiry_s = getattr(message.properties, "MessageExpiryInterval", None)  # of MQTT 5
    return CloudMessage(message.topic, bytes(message.payload), message.qos, message.mid, expiry_s)


def _read_limits(properties: Any) -> ServerLimits:
    default = ServerLimits()
    return ServerLimits(
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
