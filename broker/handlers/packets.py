"""Decodes the packets of clients one at a time and passes each to its handler: the readable path.

A handler takes a packet and changes the client, its session or the subscriptions; answers are
appended to the output of the client. Handlers raise nothing because of a peer but
RemoteProtocolError, for which the dispatcher calls fail().
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from broker.sessions.client import DECIDING, NEW, Client, ConnectionState
from broker.wire import FieldReader, decode_body, peek_version
from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import (
    MQTT_5,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    PacketType,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    Subscribe,
    Unsubscribe,
)
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.handlers.acknowledge import AckHandler
    from broker.handlers.connect import ConnectHandler
    from broker.handlers.enhanced_auth import EnhancedAuth
    from broker.handlers.publish import PublishHandler
    from broker.handlers.replies import Replies
    from broker.handlers.subscribe import SubscribeHandler
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.quota.log_limiter import LogLimiter
    from broker.routing.loop_time import LoopTime

logger = logging.getLogger(__name__)

PUBLISH = int(PacketType.PUBLISH)
ANSWERS = frozenset(
    {PacketType.CONNACK, PacketType.SUBACK, PacketType.UNSUBACK, PacketType.PINGRESP}
)  # only a broker sends them


class PacketHandler:
    """Handles every packet that is not plain."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        connect_handler: ConnectHandler,
        publish_handler: PublishHandler,
        subscribe_handler: SubscribeHandler,
        acks: AckHandler,
        enhanced: EnhancedAuth,
        replies: Replies,
        limits: Limits,
        counters: BrokerCounters,
        log_limiter: LogLimiter,
        time: LoopTime,
    ) -> None:
        self._connect_handler = connect_handler
        self._publish_handler = publish_handler
        self._replies = replies
        self._limits = limits
        self._counters = counters
        self._log_limiter = log_limiter
        self._time = time
        self._handlers: dict[type, Callable[[Client, Any], None]] = {
            Publish: lambda client, packet: publish_handler.handle_publish(
                client, packet, time.now
            ),
            PubRel: publish_handler.handle_pubrel,
            PubAck: acks.handle_puback,
            PubRec: acks.handle_pubrec,
            PubComp: acks.handle_pubcomp,
            Subscribe: subscribe_handler.handle_subscribe,
            Unsubscribe: subscribe_handler.handle_unsubscribe,
            PingReq: self._handle_pingreq,
            Disconnect: self._handle_disconnect,
            Auth: lambda client, packet: enhanced.handle_auth(client, packet, time.now),
        }

    def dispatch(self, client: Client, packet: bytes, body_at: int) -> None:
        """Take one whole packet."""
        packet_type = packet[0] >> 4
        if packet_type != PUBLISH:
            self._counters.controls_received += 1
            self._counters.control_bytes_received += len(packet)
        if client.state is NEW:
            self._handle_first(client, packet, body_at)
            return
        if packet_type in ANSWERS:
            raise RemoteProtocolError(f"unexpected {PacketType(packet_type).name}")
        decoded = decode_body(packet[0], FieldReader(packet, body_at), client.version)
        handler = self._handlers.get(type(decoded))
        if handler is None:  # [MQTT-3.1.0-2] a second CONNECT
            raise RemoteProtocolError(f"unexpected {type(decoded).__name__}")
        if client.state is DECIDING and not isinstance(decoded, Auth | Disconnect):
            raise RemoteProtocolError("neither AUTH nor DISCONNECT")  # [MQTT-3.1.2-30]
        handler(client, decoded)

    def is_for_store(self, client: Client, first: int, topic: bytes) -> bool:
        """Return whether a PUBLISH with this first byte would add to the store."""
        return self._publish_handler.is_for_store(client, first, topic)

    def fail(self, client: Client, error: RemoteProtocolError) -> None:
        """Answer a protocol error and close the connection."""
        name = error.reason.name.lower()
        self._counters.refuse(name)
        if client.state is not ConnectionState.ONLINE and self._log_limiter.may_log(
            client.label, name
        ):
            logger.info("refused %s on %s: %s", client.origin, client.listener, error)
        if client.state is ConnectionState.DECIDING:  # by an AUTH
            text = str(error) if client.wants_reasons else ""
            self._connect_handler.refuse(client, error.reason, self._time.now, text)
        else:
            self._replies.end(client, error.reason, str(error))  # [MQTT-4.13.1-1]

    def _handle_first(self, client: Client, packet: bytes, body_at: int) -> None:
        try:
            connect = decode_body(packet[0], FieldReader(packet, body_at), client.version)
            assert isinstance(connect, Connect)  # the dispatcher checked the type
            self._connect_handler.handle_connect(client, connect, self._time.now)
        except RemoteProtocolError as exc:
            version = peek_version(packet[body_at:])
            if version is not None and version >= MQTT_5:
                client.set_version(MQTT_5)
                self._replies.send(client, ConnAck(exc.reason))  # [MQTT-3.2.2-8] [MQTT-4.12.0-1]
            elif exc.reason == Reason.UNSUPPORTED_PROTOCOL_VERSION:
                self._replies.send(client, ConnAck(1))  # [MQTT-3.1.2-2] of 3.1.1
            raise  # [MQTT-3.1.4-1]; [MQTT-3.1.4-1] of 3.1.1: without CONNACK

    def _handle_pingreq(self, client: Client, packet: PingReq) -> None:  # noqa: ARG002
        self._replies.send(client, PingResp())  # [MQTT-3.12.4-1]

    def _handle_disconnect(self, client: Client, packet: Disconnect) -> None:
        session = client.session
        expiry_s = packet.properties.session_expiry_s
        if session is not None and expiry_s is not None:
            if expiry_s and not session.expiry_s:
                raise RemoteProtocolError("session expiry after a session without")
            session.set_expiry(min(float(expiry_s), self._limits.session_expiry_s))
        # [MQTT-3.14.4-3] a normal DISCONNECT discards the will
        self._replies.close(
            client, packet.reason, will=packet.reason != Reason.NORMAL_DISCONNECTION
        )
