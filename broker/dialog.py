"""What each packet of a client does, one at a time: the readable path.

A handler takes a packet and changes the client, its session or the router; the answer goes to
client.out. Nothing here raises because of a peer but RemoteProtocolError, which the flow turns
into fail().
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from broker.acks import AckLine
from broker.client import Client, State
from broker.errors import RemoteProtocolError
from broker.message import Hold, Message
from broker.packets import (
    MQTT_5,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
)
from broker.properties import NO_PROPERTIES, Properties
from broker.reasons import SUBSCRIBE_FAILED_3, Reason
from broker.registry import Registry, message_properties
from broker.topics import SHARED, validate_filter
from broker.wire import Reader, decode_body, encode_packet, peek_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.admission import Admission
    from broker.limits import Limits
    from broker.route import Route
    from broker.router import Router
    from broker.session import Session

logger = logging.getLogger(__name__)


class Dialog:
    """Handles every packet that is not plain."""

    def __init__(
        self,
        router: Router,
        registry: Registry,
        admission: Admission,
        limits: Limits,
        wake: Callable[[], None],
    ) -> None:
        self.now = 0.0  # set once per read; exact enough for expiry in seconds
        self._router = router
        self._registry = registry
        self._admission = admission
        self._limits = limits
        self._wake = wake  # a decided hold has output that no read causes
        self._counters = router.counters
        self._handlers: dict[type, Callable[[Client, Any], None]] = {
            Publish: self._publish,
            PubAck: self._puback,
            PubRec: self._refuse_qos2,
            PubRel: self._refuse_qos2,
            PubComp: self._refuse_qos2,
            Subscribe: self._subscribe,
            Unsubscribe: self._unsubscribe,
            PingReq: self._ping,
            Disconnect: self._disconnect,
        }

    def handle(self, client: Client, packet: bytes, body_at: int) -> None:
        """Take one whole packet."""
        if client.state is State.NEW:
            self._first(client, packet, body_at)
            return
        decoded = decode_body(packet[0], Reader(packet, body_at), client.version)
        handler = self._handlers.get(type(decoded))
        if handler is None:  # [MQTT-3.1.0-2] a second CONNECT, or what only a broker sends
            raise RemoteProtocolError(f"unexpected {type(decoded).__name__}")
        handler(client, decoded)

    def fail(self, client: Client, error: RemoteProtocolError) -> None:
        """Answer and close."""
        self._counters.refuse(error.reason.name.lower())
        logger.info("closing %r: %s", _label(client), error)
        self.end(client, error.reason, str(error))

    def end(self, client: Client, reason: Reason, text: str = "", *, will: bool = True) -> None:
        """Say why (MQTT 5) and close."""
        if client.state is State.CLOSED:
            return
        if client.state is State.ONLINE and client.five:  # [MQTT-3.14.0-1]
            properties = Properties(reason_string=text) if text else NO_PROPERTIES
            self.send(client, Disconnect(reason, properties))
        self.close(client, will=will)

    def close(self, client: Client, *, will: bool) -> None:
        """Let go of the session; the socket closes when all is sent."""
        client.state = State.CLOSED
        client.runs = {}
        client.parts.clear()
        client.connect = None
        client.deadline = self.now + self._limits.close_timeout_s
        if client.acks is not None:
            client.acks.close()
        self._router.touched.add(client)
        self._registry.detach(client, self.now, with_will=will)

    def send(self, client: Client, packet: Packet) -> None:
        """Put a packet behind what the client is sent already."""
        encoded = encode_packet(packet, client.version)
        if len(encoded) > client.max_packet_bytes:  # [MQTT-3.1.2-24] leave the optional text out
            encoded = encode_packet(_without_properties(packet), client.version)
        client.out.append(encoded)
        self._router.touched.add(client)

    def acknowledged(self, client: Client) -> None:
        """There is room for what waits for this client."""
        session = client.session
        if session is not None and (
            session.inflight.append is None or session.has_retained_to_send
        ):
            self.pump(client, session)

    def pump(self, client: Client, session: Session) -> None:
        """Send what waits."""
        session.pump(self._router.retained, self.now)
        if client.out:
            self._router.touched.add(client)

    def _first(self, client: Client, packet: bytes, body_at: int) -> None:
        try:
            connect = decode_body(packet[0], Reader(packet, body_at), client.version)
            assert isinstance(connect, Connect)  # the flow saw to that
            self._admission.ask(client, connect, self.now)
        except RemoteProtocolError as exc:
            version = peek_version(packet[body_at:])
            if version is not None and version >= MQTT_5:
                client.speak(MQTT_5)
                self.send(client, ConnAck(exc.reason))
            elif exc.reason == Reason.UNSUPPORTED_PROTOCOL_VERSION:
                self.send(client, ConnAck(1))  # [MQTT-3.1.2-2]
            raise

    # -- PUBLISH ---------------------------------------------------------------------------

    def _publish(self, client: Client, packet: Publish) -> None:
        self._check_publish(packet)
        route = self._router.find_route(client, packet.topic.encode())
        self._counters.messages_received += 1
        if packet.packet_id is None:
            if route.allowed:
                self._router.deliver(self._message(client, packet), route.receivers, self.now)
            else:
                self._deny(client, route)
            return
        self._check_holds(client)
        if not route.allowed:
            self._deny(client, route)
            # [MQTT-3.3.5-2] 3.1.1 has no word for "no": acknowledged, and gone
            verdict = Reason.NOT_AUTHORIZED if client.five else Reason.SUCCESS
            self._acknowledge(client, packet.packet_id, verdict)
        else:
            self._deliver_held(client, packet, route)

    def _check_publish(self, packet: Publish) -> None:
        properties = packet.properties
        if packet.qos > 1:
            raise RemoteProtocolError("cannot take QoS 2", Reason.QOS_NOT_SUPPORTED)
        if properties.topic_alias is not None:  # [MQTT-3.3.2-9] the maximum is 0
            raise RemoteProtocolError("cannot use topic alias", Reason.TOPIC_ALIAS_INVALID)
        if properties.subscription_identifiers:  # [MQTT-3.3.4-6]
            raise RemoteProtocolError("subscription identifier from a client")
        response_topic = properties.response_topic
        if response_topic is not None and ("+" in response_topic or "#" in response_topic):
            raise RemoteProtocolError("wildcard in response topic")  # [MQTT-3.3.2-14]

    def _check_holds(self, client: Client) -> None:
        if client.acks and len(client.acks) >= self._limits.holds and client.five:
            raise RemoteProtocolError(  # [MQTT-3.3.4-7]
                f"more than {self._limits.holds} messages not acknowledged",
                Reason.RECEIVE_MAXIMUM_EXCEEDED,
            )

    def _deny(self, client: Client, route: Route) -> None:
        self._counters.refuse("publish_not_authorized")
        self._counters.drop("publish_not_authorized")
        logger.debug("%r may not publish to %r", _label(client), route.topic)

    def _message(self, client: Client, packet: Publish, hold: Hold | None = None) -> Message:
        properties, expires_at = packet.properties, None
        if properties is not NO_PROPERTIES:
            if properties.message_expiry_s is not None:
                expires_at = self.now + properties.message_expiry_s
            properties = message_properties(properties)
        return Message(
            packet.topic,
            packet.payload,
            packet.qos,
            packet.retain,
            client.name,
            properties,
            expires_at,
            hold,
        )

    def _deliver_held(self, client: Client, packet: Publish, route: Route) -> None:
        assert packet.packet_id is not None  # QoS 1
        line = client.acks
        if line is None:
            line = client.acks = AckLine(lambda: self._let_acks_go(client))
        place = line.join(packet.packet_id)
        receivers = route.receivers
        accepted = Reason.SUCCESS if receivers else Reason.NO_MATCHING_SUBSCRIBERS
        hold = Hold(lambda ok: place.decide(accepted if ok else Reason.QUOTA_EXCEEDED))
        hold.keep()  # by the broker, until all local subscribers have seen it
        if self._router.deliver(self._message(client, packet, hold), receivers, self.now):
            hold.release()
        else:
            hold.refuse()
        if not client.five and len(line) >= self._limits.holds:
            client.held = True  # 3.1.1 has no receive maximum: read no further
            self._router.touched.add(client)

    def _let_acks_go(self, client: Client) -> None:
        line = client.acks
        assert line is not None  # it calls
        self._wake()
        for packet_id, verdict in line.take_ready():
            self._send_ack(client, packet_id, verdict)
        if client.held and client.state is State.ONLINE and len(line) < self._limits.holds:
            client.held = False
            self._router.touched.add(client)

    def _acknowledge(self, client: Client, packet_id: int, verdict: Reason) -> None:
        if client.acks and client.state is State.ONLINE:  # [MQTT-4.6.0-2] behind those that wait
            client.acks.join(packet_id).decide(verdict)
        else:
            self._send_ack(client, packet_id, verdict)

    def _send_ack(self, client: Client, packet_id: int, verdict: Reason) -> None:
        if client.five:
            self.send(client, PubAck(packet_id, verdict))
        elif verdict < Reason.UNSPECIFIED_ERROR:
            self.send(client, PubAck(packet_id))
        else:
            self._counters.refuse(verdict.name.lower())
            self.end(client, verdict)

    def _puback(self, client: Client, packet: PubAck) -> None:
        assert client.session is not None  # it is online
        packet_id = packet.packet_id.to_bytes(2, "big")
        if client.session.inflight.acknowledge((packet_id,)):
            self._counters.refuse("unknown_packet_id")
        self.acknowledged(client)

    def _refuse_qos2(self, client: Client, packet: PubRec | PubRel | PubComp) -> None:  # noqa: ARG002
        raise RemoteProtocolError(f"{type(packet).__name__}, but no QoS 2 was ever granted")

    # -- SUBSCRIBE, UNSUBSCRIBE ------------------------------------------------------------

    def _subscribe(self, client: Client, packet: Subscribe) -> None:
        session = client.session
        assert session is not None and client.identity is not None  # noqa: PT018  # it is online
        for each in packet.subscriptions:
            validate_filter(each.topic_filter)
            if each.no_local and each.topic_filter.startswith(SHARED):  # [MQTT-3.8.3-4]
                raise RemoteProtocolError("no-local on a shared subscription")
        codes = [self._subscribe_one(client, session, each) for each in packet.subscriptions]
        if client.five:
            answers = tuple(codes)
        else:
            failed = Reason.UNSPECIFIED_ERROR
            answers = tuple(SUBSCRIBE_FAILED_3 if code >= failed else code for code in codes)
        # [MQTT-3.8.4-1] [MQTT-3.8.4-6] one answer, one code per filter
        self.send(client, SubAck(packet.packet_id, answers))
        self.pump(client, session)

    def _subscribe_one(self, client: Client, session: Session, asked: Subscription) -> int:
        topic_filter = asked.topic_filter
        known = topic_filter in session.subscriptions
        refusal = self._refuse_subscription(session, topic_filter, known=known)
        if refusal is not None:
            self._counters.refuse(f"subscribe_{refusal.name.lower()}")
            logger.info(
                "%r may not subscribe to %r: %s", _label(client), topic_filter, refusal.name
            )
            return refusal
        granted = Subscription(
            topic_filter,
            min(asked.qos, 1),  # QoS 2 is not spoken yet
            asked.no_local,
            asked.retain_as_published,
            asked.retain_handling,
            asked.identifiers,
        )
        session.subscriptions[topic_filter] = granted
        self._counters.subscriptions += not known
        self._router.subscribe(session, granted)
        # [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]: 0 always, 1 when new, 2 never
        if asked.retain_handling == 0 or (asked.retain_handling == 1 and not known):
            session.pending_retained[topic_filter] = granted
        return granted.qos

    def _refuse_subscription(
        self, session: Session, topic_filter: str, *, known: bool
    ) -> Reason | None:
        limits = self._limits
        if topic_filter.startswith(SHARED):
            return Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if topic_filter.count("/") >= limits.topic_levels:
            return Reason.TOPIC_FILTER_INVALID
        if not self._router.may_subscribe(session.owner, topic_filter):
            return Reason.NOT_AUTHORIZED
        if not known and len(session.subscriptions) >= limits.subscriptions:
            return Reason.QUOTA_EXCEEDED
        return None

    def _unsubscribe(self, client: Client, packet: Unsubscribe) -> None:
        session = client.session
        assert session is not None  # it is online
        codes = []
        for topic_filter in packet.topic_filters:
            validate_filter(topic_filter)
            if session.subscriptions.pop(topic_filter, None) is None:
                codes.append(Reason.NO_SUBSCRIPTION_EXISTED)
                continue
            self._counters.subscriptions -= 1
            self._router.unsubscribe(session, topic_filter)
            session.forget_retained(topic_filter)
            codes.append(Reason.SUCCESS)
        # [MQTT-3.10.4-4] [MQTT-3.10.4-5] answered even when nothing was subscribed
        self.send(client, UnsubAck(packet.packet_id, tuple(codes)))

    # -- the rest --------------------------------------------------------------------------

    def _ping(self, client: Client, packet: PingReq) -> None:  # noqa: ARG002
        self.send(client, PingResp())  # [MQTT-3.12.4-1]

    def _disconnect(self, client: Client, packet: Disconnect) -> None:
        session = client.session
        expiry_s = packet.properties.session_expiry_s
        if session is not None and expiry_s is not None:
            if expiry_s and not session.expiry_s:
                raise RemoteProtocolError("session expiry after a session without")
            session.expiry_s = min(float(expiry_s), self._limits.session_expiry_s)
        # [MQTT-3.14.4-3] a DISCONNECT takes the will back, unless it says otherwise
        self.close(client, will=packet.reason != Reason.NORMAL_DISCONNECTION)


def _label(client: Client) -> str:
    if client.session is not None:
        return client.session.client_id
    return client.peer or client.listener


def _without_properties(packet: Any) -> Packet:
    from dataclasses import replace

    bare: Packet = replace(packet, properties=NO_PROPERTIES)
    return bare
