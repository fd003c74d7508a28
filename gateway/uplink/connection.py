"""One connection to the cloud's broker: paho-mqtt, driven by the event loop.

Each connection is a new client: what was not acknowledged is in the spool and goes out again from
there, in order. The session at the broker goes on: what the cloud sends at QoS 1 waits there while
this node is away, and is acknowledged by hand.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from gateway.errors import LinkLost, Refused
from gateway.uplink.downlink import CloudMessage
from protocol.secret import Secret

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 10  # the cloud knows within 15 s, less than callers wait, that a node is gone
CONNECT_TIMEOUT_S = 4.0  # below the 5 s in which a gateway stops
SET_UP_TIMEOUT_S = 10.0
MISC_INTERVAL_S = 1.0
PUBACK_WINDOW = 512

# MQTT 3.1.1, 3.2.2.3: what a second attempt would not change; the names are paho's
_FINAL = frozenset(
    {"Bad user name or password", "Not authorized", "Client identifier not valid",
     "Unsupported protocol version", "Banned"}
)  # fmt: skip


class Connection:
    """An MQTT 3.1.1 connection; callbacks run on the event loop and must not block."""

    def __init__(self, client_id: str, password: Secret, tls: ssl.SSLContext | None) -> None:
        self.on_message: Callable[[CloudMessage], None] = lambda _message: None
        self.on_acknowledged: Callable[[int], None] = lambda _packet_id: None
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self.closed: asyncio.Future[str] = self._loop.create_future()  # why it ended
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._unsent: set[int] = set()  # QoS 0: no acknowledgement will come
        self._subscribed: dict[int, asyncio.Future[None]] = {}
        self._misc: asyncio.TimerHandle | None = None
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=False,
            protocol=paho.MQTTv311,
            manual_ack=True,
        )
        client.username_pw_set(client_id, password.reveal())
        if tls is not None:
            client.tls_set_context(tls)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(PUBACK_WINDOW)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = lambda _c, _u, m: self.on_message(
            CloudMessage(m.topic, bytes(m.payload), m.qos, m.mid)
        )
        client.on_socket_open = lambda _c, _u, s: self._soon(self._watch, s)
        client.on_socket_close = lambda _c, _u, s: self._soon(self._unwatch, s.fileno())
        client.on_socket_register_write = lambda _c, _u, s: self._soon(self._want_write, s)
        client.on_socket_unregister_write = lambda _c, _u, s: self._soon(
            self._loop.remove_writer, s.fileno()
        )

    async def open(self, host: str, port: int) -> None:
        """Connect and log in.

        Raises:
            Refused: the broker does not want this node.
            LinkLost: it cannot be reached or is overloaded.
        """
        dialled: asyncio.Future[None] = self._loop.create_future()

        def dial() -> None:  # resolving, connecting and the TLS handshake block
            try:
                self._client.connect(host, port, KEEP_ALIVE_S)
                self._soon(_resolve, dialled, None)
            except (OSError, ValueError) as exc:
                self._soon(_resolve, dialled, LinkLost(f"cannot reach {host}:{port}: {exc}"))

        threading.Thread(target=dial, name="dial", daemon=True).start()
        try:
            async with asyncio.timeout(SET_UP_TIMEOUT_S):
                await dialled
                self._tick()
                await self._connected
        except TimeoutError as exc:
            raise LinkLost(f"cannot reach {host}:{port}: no answer") from exc

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe at QoS 1 and wait until the broker has done so."""
        if not filters:
            return
        code, packet_id = self._client.subscribe([(f, 1) for f in filters])
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or packet_id is None:
            raise LinkLost("cannot subscribe: connection lost")
        done = self._subscribed[packet_id] = self._loop.create_future()
        try:
            async with asyncio.timeout(SET_UP_TIMEOUT_S):
                await done
        except TimeoutError as exc:
            raise LinkLost("cannot subscribe: no answer") from exc

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False) -> int:
        """Send a message and return its packet id; whether it arrives shows later."""
        packet_id = self._client.publish(topic, payload, qos, retain).mid
        if qos == 0:
            self._unsent.add(packet_id)
        return packet_id

    def acknowledge(self, packet_id: int) -> None:
        """Acknowledge a message of QoS 1 that on_message was given."""
        self._client.ack(packet_id, 1)

    @property
    def unsent(self) -> int:
        """How many QoS 0 messages wait for the socket."""
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

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, _p: Any) -> None:
        if not reason.is_failure:
            _resolve(self._connected, None)
        elif reason.getName() in _FINAL:
            _resolve(self._connected, Refused(f"cannot log in to the cloud's broker: {reason}"))
        else:
            _resolve(self._connected, LinkLost(f"cannot log in to the cloud's broker: {reason}"))

    def _on_disconnect(self, _c: Any, _u: Any, _f: Any, _r: Any, _p: Any) -> None:
        self._soon(self._end, "the connection to the cloud's broker was lost")

    def _on_subscribe(
        self, _c: Any, _u: Any, packet_id: int, reasons: list[ReasonCode], _p: Any
    ) -> None:
        done = self._subscribed.pop(packet_id, None)
        if done is not None:
            failed = [str(reason) for reason in reasons if reason.is_failure]
            _resolve(
                done, Refused(f"cannot subscribe in the cloud: {failed[0]}") if failed else None
            )

    def _on_publish(self, _c: Any, _u: Any, packet_id: int, _r: Any, _p: Any) -> None:
        if packet_id in self._unsent:
            self._unsent.discard(packet_id)
        else:
            self.on_acknowledged(packet_id)

    # the socket on the event loop ------------------------------------------------------

    def _soon(self, call: Callable[..., object], *args: Any) -> None:
        """Run a call on the loop: at once when there already, else as soon as it turns."""
        if threading.get_ident() == self._loop_thread:
            call(*args)
        else:
            self._loop.call_soon_threadsafe(call, *args)

    def _watch(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            # a PUBACK and the answer behind it are two small packets: 40 ms apart otherwise
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._loop.add_reader(sock, self._read, sock)

    def _unwatch(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)

    def _want_write(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock, self._client.loop_write)

    def _read(self, sock: socket.socket) -> None:
        self._client.loop_read()
        # bytes that TLS has decrypted already do not make the socket readable again
        while isinstance(sock, ssl.SSLSocket) and sock.fileno() >= 0 and sock.pending():
            self._client.loop_read()

    def _tick(self) -> None:
        if self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS and not self.closed.done():
            self._misc = self._loop.call_later(MISC_INTERVAL_S, self._tick)

    def _stop_ticking(self) -> None:
        if self._misc is not None:
            self._misc.cancel()

    def _end(self, why: str) -> None:
        self._stop_ticking()
        lost = LinkLost(why)
        for waiting in (self._connected, *self._subscribed.values()):
            _resolve(waiting, lost)
        if self._connected.done() and not self._connected.cancelled():
            self._connected.exception()  # nobody may be waiting for it any more
        if not self.closed.done():
            self.closed.set_result(why)


def _resolve(future: asyncio.Future[None], exc: Exception | None) -> None:
    if future.done():
        return
    if exc is None:
        future.set_result(None)
    else:
        future.set_exception(exc)
