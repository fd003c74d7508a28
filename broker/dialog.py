"""What each packet of a client does, one at a time: the readable path.

A handler takes a packet and changes the client, its session or the router; the answer goes to
client.out. Nothing here raises because of a peer but RemoteProtocolError, which the flow turns
into fail().
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from broker.client import DECIDING, NEW, Client, State
from broker.enhanced import Enhanced
from broker.errors import RemoteProtocolError
from broker.fitting import encode_fitting
from broker.incoming import Incoming
from broker.packets import (
    MQTT_3_1,
    MQTT_5,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PacketType,
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
from broker.reasons import SUBSCRIBE_FAILED_3, Reason, describe
from broker.session import BACKLOG_STEP_BYTES
from broker.story import COMINGS_AND_GOINGS
from broker.topics import SHARED, strip_share, validate_filter
from broker.wire import Reader, decode_body, peek_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.admission import Admission
    from broker.limits import Limits
    from broker.registry import Registry
    from broker.router import Router
    from broker.session import Session

logger = logging.getLogger(__name__)

PUBLISH = int(PacketType.PUBLISH)
TURN_LOOKED_AT_BYTES = 320  # of retained messages are a unit of a turn: a step is 1 ms
MAX_QOS = 2  # as an answer to SUBSCRIBE: granted
ANSWERS = frozenset(
    {PacketType.CONNACK, PacketType.SUBACK, PacketType.UNSUBACK, PacketType.PINGRESP}
)  # only a broker sends them


class Dialog:
    """Handles every packet that is not plain."""

    def __init__(
        self,
        router: Router,
        registry: Registry,
        admission: Admission,
        limits: Limits,
        wake: Callable[[], None],
        renewed: Callable[[Client], None],
    ) -> None:
        self.now = 0.0  # set once per read; exact enough for expiry in seconds
        self._router = router
        self._registry = registry
        self._admission = admission
        self._touch = router.ledger.touch
        self._limits = limits
        self._counters = router.counters
        incoming = self.incoming = Incoming(router, limits, self, wake)
        self.enhanced = Enhanced(self, router.counters, limits.connect_timeout_s, renewed)
        self._handlers: dict[type, Callable[[Client, Any], None]] = {
            Publish: lambda client, packet: incoming.publish(client, packet, self.now),
            PubRel: incoming.release,
            PubAck: self._puback,
            PubRec: self._pubrec,
            PubComp: self._pubcomp,
            Subscribe: self._subscribe,
            Unsubscribe: self._unsubscribe,
            PingReq: self._ping,
            Disconnect: self._disconnect,
            Auth: lambda client, packet: self.enhanced.take(client, packet, self.now),
        }

    def handle(self, client: Client, packet: bytes, body_at: int) -> None:
        """Take one whole packet."""
        packet_type = packet[0] >> 4
        if packet_type != PUBLISH:
            self._counters.controls_received += 1
            self._counters.control_bytes_received += len(packet)
        if client.state is NEW:
            self._first(client, packet, body_at)
            return
        if packet_type in ANSWERS:
            raise RemoteProtocolError(f"unexpected {PacketType(packet_type).name}")
        decoded = decode_body(packet[0], Reader(packet, body_at), client.version)
        handler = self._handlers.get(type(decoded))
        if handler is None:  # [MQTT-3.1.0-2] a second CONNECT
            raise RemoteProtocolError(f"unexpected {type(decoded).__name__}")
        if client.state is DECIDING and not isinstance(decoded, Auth | Disconnect):
            raise RemoteProtocolError("neither AUTH nor DISCONNECT")  # [MQTT-3.1.2-30]
        handler(client, decoded)

    def is_for_store(self, client: Client, first: int, topic: bytes) -> bool:
        """Return whether a PUBLISH with this first byte would add to the store."""
        return self.incoming.is_for_store(client, first, topic)

    def fail(self, client: Client, error: RemoteProtocolError) -> None:
        """Answer and close."""
        name = error.reason.name.lower()
        self._counters.refuse(name)
        if client.state is not State.ONLINE and self._router.story.may_tell(client.label, name):
            logger.info("refused %s on %s: %s", client.origin, client.listener, error)
        if client.state is State.DECIDING:  # by an AUTH
            text = str(error) if client.wants_reasons else ""
            self._admission.refuse(client, error.reason, self.now, text)
        else:
            self.end(client, error.reason, str(error))  # [MQTT-4.13.1-1]

    def end(self, client: Client, reason: Reason, text: str = "", *, will: bool = True) -> None:
        """Say why (MQTT 5) and close."""
        if client.state is State.CLOSED:
            return
        if client.state is State.ONLINE and client.five:  # [MQTT-3.14.0-1]
            tells = bool(text) and client.wants_reasons
            properties = Properties(reason_string=text) if tells else NO_PROPERTIES
            self.send(client, Disconnect(reason, properties))  # [MQTT-3.14.2-1] [MQTT-3.14.2-2]
        self.close(client, reason, text, will=will)

    def close(
        self, client: Client, reason: Reason | None = None, text: str = "", *, will: bool
    ) -> None:
        """Let go of the session; the socket closes when all is sent."""
        was_online = client.state is State.ONLINE
        client.state = State.CLOSED  # [MQTT-3.14.4-1] [MQTT-4.13.2-1]
        client.runs = {}
        client.forget_input()
        client.connect = None
        client.deadline = self.now + self._limits.close_timeout_s
        if client.acks is not None:
            client.acks.close()
        self._router.touched.add(client)
        self._registry.detach(client, self.now, with_will=will)
        if was_online:
            self._tell_gone(client, reason, text)

    def send(self, client: Client, packet: Packet) -> None:
        """Put a packet behind what the client is sent already."""
        encoded = encode_fitting(packet, client)  # [MQTT-3.1.2-24]
        self._router.touched.add(client)
        if encoded is not None:
            client.out.append(encoded)  # [MQTT-3.3.4-10] [MQTT-4.9.0-3]
            self._counters.send_control(1, len(encoded))
        elif not isinstance(packet, Disconnect):  # then nothing is sent but the end
            self._counters.refuse("answer_too_large")
            text = f"takes no {type(packet).__name__} of ours"
            self.end(client, Reason.PACKET_TOO_LARGE, text)

    def acknowledged(self, client: Client) -> None:
        """There is room for what waits for this client."""
        session = client.session
        if session is not None and (
            session.inflight.append is None or session.has_retained_to_send
        ):
            self.pump(client, session)

    def pump(self, client: Client, session: Session) -> None:
        """Send what waits."""
        looked_at = session.pump(self._router.retained, self.now)
        self._router.turns.left -= looked_at // TURN_LOOKED_AT_BYTES
        self._router.ledger.flush()
        if looked_at >= BACKLOG_STEP_BYTES:
            self._router.turns.wait(client)
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
                self.send(client, ConnAck(exc.reason))  # [MQTT-3.2.2-8] [MQTT-4.12.0-1]
            elif exc.reason == Reason.UNSUPPORTED_PROTOCOL_VERSION:
                self.send(client, ConnAck(1))  # [MQTT-3.1.2-2] of 3.1.1
            raise  # [MQTT-3.1.4-1]; [MQTT-3.1.4-1] of 3.1.1: without CONNACK

    # -- acknowledgements of what the client was sent ----------------------------------------

    def _puback(self, client: Client, packet: PubAck) -> None:
        assert client.session is not None  # it is online
        packet_id = packet.packet_id.to_bytes(2, "big")
        if client.session.inflight.acknowledge((packet_id,)):  # [MQTT-4.4.0-2]
            self._counters.refuse("unknown_packet_id")
        self.acknowledged(client)

    def _pubrec(self, client: Client, packet: PubRec) -> None:
        session = client.session
        assert session is not None  # it is online
        packet_id = packet.packet_id.to_bytes(2, "big")
        if packet.reason >= Reason.UNSPECIFIED_ERROR:
            if session.inflight.finish(packet_id, released=False):  # [MQTT-4.4.0-2] [MQTT-4.8.2-6]
                self._counters.drop("refused_by_receiver")
            self.acknowledged(client)
        elif (release := session.inflight.release(packet_id)) is not None:
            if session.diary is None:
                self._send_release(client, release)
            else:
                session.diary.released(
                    packet_id, lambda ok: self._send_release(client, release, ok=ok)
                )
        else:
            self._counters.refuse("unknown_packet_id")
            self.send(client, PubRel(packet.packet_id, Reason.PACKET_ID_NOT_FOUND))

    def _send_release(self, client: Client, release: bytes, *, ok: bool = True) -> None:
        if ok and client.state is State.ONLINE:
            client.out.append(release)  # [MQTT-4.3.3-4] [MQTT-2.2.1-5]
            self._counters.send_control(1, len(release))
            self._touch(client)

    def _pubcomp(self, client: Client, packet: PubComp) -> None:
        session = client.session
        assert session is not None  # it is online
        if not session.inflight.finish(packet.packet_id.to_bytes(2, "big"), released=True):
            self._counters.refuse("unknown_packet_id")
        self.acknowledged(client)

    # -- SUBSCRIBE, UNSUBSCRIBE ------------------------------------------------------------

    def _subscribe(self, client: Client, packet: Subscribe) -> None:
        session = client.session
        assert session is not None and client.identity is not None  # noqa: PT018  # it is online
        if client.is_bridge:
            packet = replace(packet, subscriptions=tuple(map(_as_bridge, packet.subscriptions)))
        filters = [each.topic_filter for each in packet.subscriptions]
        for topic_filter, each in zip(filters, packet.subscriptions, strict=True):
            validate_filter(topic_filter)
            if each.no_local and topic_filter.startswith(SHARED):  # [MQTT-3.8.3-4]
                raise RemoteProtocolError("no-local on a shared subscription")
        kept = session.subscriptions
        before = {each: kept.get(each) for each in filters} if session.diary is not None else {}
        codes = [self._subscribe_one(client, session, each) for each in packet.subscriptions]
        if session.diary is None or min(codes) > MAX_QOS:
            self._answer_subscribe(client, packet, codes)
            return

        def done(ok: bool) -> None:
            if not ok:
                self._take_back(session, before)
            if client.state is State.ONLINE:
                quota = Reason.QUOTA_EXCEEDED
                self._answer_subscribe(
                    client, packet, codes if ok else [max(each, quota) for each in codes]
                )
                self._touch(client)

        pairs = zip(packet.subscriptions, codes, strict=True)
        granted = [kept[each.topic_filter] for each, code in pairs if code <= MAX_QOS]
        session.diary.subscribed(granted, session.pending_retained, done)

    def _answer_subscribe(self, client: Client, packet: Subscribe, codes: list[int]) -> None:
        if client.five:
            answers = tuple(codes)  # [MQTT-3.9.3-2]
        else:
            failed = Reason.UNSPECIFIED_ERROR  # [MQTT-3.9.3-2] of 3.1.1
            # 3.1 has no word for "no": it is granted what it asked for, and gets nothing
            refused = SUBSCRIBE_FAILED_3 if client.version != MQTT_3_1 else None
            answers = tuple(
                (each.qos if refused is None else refused) if code >= failed else code
                for each, code in zip(packet.subscriptions, codes, strict=True)
            )
        # [MQTT-3.8.4-1] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.9.3-1] a code for each, in order
        self.send(client, SubAck(packet.packet_id, answers))  # [MQTT-3.8.4-2] [MQTT-2.2.1-6]
        if client.session is not None and client.session.has_retained_to_send:  # the answer did fit
            self.pump(client, client.session)

    def _take_back(self, session: Session, before: dict[str, Subscription | None]) -> None:
        """Undo subscriptions that could not be stored."""
        self._counters.refuse("not_stored")
        for topic_filter, old in before.items():
            if topic_filter not in session.subscriptions:  # the session has ended
                continue
            if old is None:
                del session.subscriptions[topic_filter]
                self._counters.subscriptions -= 1
                session.forget_retained(topic_filter)
                self._router.unsubscribe(session, topic_filter)
            else:
                session.subscriptions[topic_filter] = old
                self._router.subscribe(session, old)

    def _subscribe_one(self, client: Client, session: Session, asked: Subscription) -> int:
        topic_filter = asked.topic_filter
        known = topic_filter in session.subscriptions
        refusal = self._refuse_subscription(session, topic_filter, known=known)
        if refusal is not None:
            return self._deny_subscription(client, topic_filter, refusal)
        granted = self._router.hooks.grant(session.owner, asked)
        if granted >= Reason.UNSPECIFIED_ERROR:
            return self._deny_subscription(client, topic_filter, Reason(granted))
        if client.session is not session:  # a hook disconnected it
            return Reason.NOT_AUTHORIZED
        if granted != asked.qos:
            asked = replace(asked, qos=granted)
        session.subscriptions[topic_filter] = asked
        self._counters.subscriptions += not known
        self._router.subscribe(session, asked)
        # [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]: 0 always, 1 when new, 2 never
        if topic_filter.startswith(SHARED):  # no retained messages for one of many
            return asked.qos
        wants = asked.retain_handling == 0 or (asked.retain_handling == 1 and not known)
        if wants and self._router.retained.may_match(topic_filter):
            session.pending_retained[topic_filter] = asked  # [MQTT-3.8.4-4]
        return asked.qos  # [MQTT-3.8.4-7]

    def _deny_subscription(self, client: Client, topic_filter: str, refusal: Reason) -> Reason:
        kind = f"subscribe_{refusal.name.lower()}"
        self._counters.refuse(kind)
        if self._router.story.may_tell(client.label, kind):
            why = describe(refusal)
            logger.info("%r may not subscribe to %.200r: %s", client.label, topic_filter, why)
        return refusal

    def _refuse_subscription(
        self, session: Session, topic_filter: str, *, known: bool
    ) -> Reason | None:
        limits = self._limits
        is_deep = topic_filter.count("/") >= limits.topic_levels
        if is_deep and strip_share(topic_filter).count("/") >= limits.topic_levels:
            return Reason.TOPIC_FILTER_INVALID
        if len(topic_filter.encode()) > limits.topic_bytes:
            return Reason.TOPIC_FILTER_INVALID
        if not self._router.may_subscribe(session.owner, topic_filter):
            return Reason.NOT_AUTHORIZED
        if known:
            return None
        if self._router.subscriptions_bytes >= limits.subscriptions_bytes:
            self._registry.end_expired(self.now)
        if (
            len(session.subscriptions) >= limits.subscriptions
            or self._router.subscriptions_bytes >= limits.subscriptions_bytes
        ):
            return Reason.QUOTA_EXCEEDED
        return None

    def _unsubscribe(self, client: Client, packet: Unsubscribe) -> None:
        session = client.session
        assert session is not None  # it is online
        codes: list[Reason] = []
        gone: list[str] = []
        for topic_filter in packet.topic_filters:
            validate_filter(topic_filter)
            if session.subscriptions.pop(topic_filter, None) is None:  # [MQTT-3.10.4-1]
                codes.append(Reason.NO_SUBSCRIPTION_EXISTED)  # [MQTT-3.11.3-2]
                continue
            self._counters.subscriptions -= 1
            self._router.unsubscribe(session, topic_filter)  # [MQTT-3.10.4-2]
            session.forget_retained(topic_filter)  # [MQTT-3.10.4-3] nothing else
            gone.append(topic_filter)
            codes.append(Reason.SUCCESS)  # [MQTT-3.11.3-1]
        # [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] answered, whatever was subscribed
        answer = UnsubAck(packet.packet_id, tuple(codes))  # [MQTT-2.2.1-6]
        if session.diary is None or not gone:
            self.send(client, answer)
        else:
            session.diary.unsubscribed(gone, lambda ok: self._answer_safe(client, answer, ok=ok))

    def _answer_safe(self, client: Client, answer: Packet, *, ok: bool) -> None:
        if ok and client.state is State.ONLINE:
            self.send(client, answer)
            self._touch(client)

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
        self.close(client, packet.reason, will=packet.reason != Reason.NORMAL_DISCONNECTION)

    def _tell_gone(self, client: Client, reason: Reason | None, text: str) -> None:
        identity = client.identity
        assert identity is not None  # it was online
        if self._router.story.may_tell(identity.client_id, "disconnected", COMINGS_AND_GOINGS):
            why = "the connection broke" if reason is None else describe(reason)
            ending = f": {text}" if text else ""
            logger.info("%r disconnected: %s%s", identity.client_id, why, ending)
        self._router.hooks.tell_disconnect(identity, reason)


def _as_bridge(asked: Subscription) -> Subscription:
    """Return what a bridge means: MQTT 3 has no words for it, so its level says it."""
    if asked.topic_filter.startswith(SHARED):  # [MQTT-3.8.3-4]
        return asked
    return replace(asked, no_local=True, retain_as_published=True)
