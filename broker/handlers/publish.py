"""Handles PUBLISH and PUBREL one packet at a time.

Theory of operation
-------------------
A message is acknowledged (publish_acks.py) once its hold ends. A QoS 2 message is routed when it
arrives for the first time; the session keeps its packet id (sessions/inbound_qos2.py), so that it
is not routed again. [MQTT-4.3.3-10]
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.journal.records import ReceivedQos2, Record
from broker.messages.message import Hold, Message, NoRoom, message_properties
from broker.messages.topics import validate_response_topic
from broker.routing.subscription_table import is_stored
from broker.sessions.client import Client, ConnectionState
from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import Packet, PubComp, Publish, PubRel
from broker.wire.property_values import NO_PROPERTIES
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.handlers.publish_acks import PublishAcks
    from broker.handlers.replies import Replies
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.quota.log_limiter import LogLimiter
    from broker.routing.backpressure import Backpressure
    from broker.routing.route_builder import RouteBuilder
    from broker.routing.router import Router
    from broker.routing.scheduler import Scheduler
    from broker.sessions.ack_queue import AckSlot
    from broker.sessions.persistence import Persistence
    from broker.sessions.route import PublishRoute, Receivers

logger = logging.getLogger(__name__)

TURN_PAIRS = 8  # user properties of a message, at 3 us each, cost one unit of a turn
RETAIN = 0x01
SUCCESS = Reason.SUCCESS  # speed: as in sessions/client.py


class PublishHandler:
    """Takes PUBLISH and PUBREL."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        router: Router,
        routes: RouteBuilder,
        acks: PublishAcks,
        replies: Replies,
        persistence: Persistence,
        scheduler: Scheduler,
        backpressure: Backpressure,
        limits: Limits,
        counters: BrokerCounters,
        log_limiter: LogLimiter,
    ) -> None:
        self._router = router
        self._routes = routes
        self._acks = acks
        self._replies = replies
        self._persistence = persistence
        self._scheduler = scheduler
        self._backpressure = backpressure
        self._limits = limits
        self._counters = counters
        self._log_limiter = log_limiter

    def handle_publish(self, client: Client, packet: Publish, now: float) -> None:
        """Route a message, and acknowledge it when it is safe."""
        _check(packet)
        self._scheduler.spend(len(packet.properties.user_properties) // TURN_PAIRS)
        if packet.properties.topic_alias is not None:
            packet = self._resolve_alias(client, packet, packet.properties.topic_alias)
        route = self._routes.find_route(client, packet.topic.encode())
        self._counters.messages_received += 1
        if self._backpressure.queue:
            self._backpressure.pass_through(client)
        if packet.packet_id is None:  # [MQTT-3.3.4-1]
            if route.allowed:
                self._deliver(client, packet, route, now)
            else:
                self._deny(client, route)
            return
        self._check_quota(client)
        queue = self._acks.queue_of(client)
        slot = queue.join(packet.packet_id, packet.qos)  # [MQTT-2.2.1-5]
        # [MQTT-4.3.2-5]
        decide = slot.decide if packet.qos == 1 else self._take(client, slot, now)
        if decide is None:
            return
        if route.allowed:
            self._deliver_held(client, packet, route, decide, now)
        else:
            self._deny(client, route)
            # [MQTT-3.3.5-2] of 3.1.1, which has no code for a refusal: acknowledged, not routed
            decide(Reason.NOT_AUTHORIZED if client.five else Reason.SUCCESS)  # [MQTT-3.4.2-1]
        self._acks.hold_if_full(client, queue)

    def is_for_store(self, client: Client, first: int, topic: bytes) -> bool:
        """Return whether a PUBLISH with this first byte would add to the store."""
        session, qos = client.session, first >> 1 & 3
        if session is None:
            return False  # a fault, which its handler reports
        if not topic or first & RETAIN or (qos > 1 and session.recorder is not None):
            return True  # without a topic it has an alias, and may be for any receiver
        receivers = self._routes.find_route(client, topic).receivers
        return any(is_stored(receiver) for receiver, _ in receivers)

    def handle_pubrel(self, client: Client, packet: PubRel) -> None:
        """Forget the packet id of a QoS 2 message."""
        session = client.session
        assert session is not None  # it is online
        if session.received.is_undecided(packet.packet_id):
            raise RemoteProtocolError("PUBREL before its PUBREC")
        reason = Reason.SUCCESS
        if not session.received.release(packet.packet_id):
            self._counters.refuse("unknown_packet_id")
            reason = Reason.PACKET_ID_NOT_FOUND  # [MQTT-3.7.2-1]
        answer = PubComp(packet.packet_id, reason)  # [MQTT-4.3.3-11]
        if session.recorder is None:
            self._replies.send(client, answer)
        else:
            session.recorder.freed(
                packet.packet_id, lambda ok: self._answer_safe(client, answer, ok)
            )

    def _answer_safe(self, client: Client, answer: Packet, ok: bool) -> None:
        if ok and client.state is ConnectionState.ONLINE:
            self._replies.send(client, answer)
            self._persistence.touch(client)

    def _resolve_alias(self, client: Client, packet: Publish, alias: int) -> Publish:
        if alias > self._limits.topic_aliases:  # [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-3.3.2-12]
            raise RemoteProtocolError(f"topic alias {alias}", Reason.TOPIC_ALIAS_INVALID)
        key = alias.to_bytes(2, "big")
        if packet.topic:
            client.note_alias(key, packet.topic.encode())
            return packet
        topic = client.aliases.get(key) if client.aliases is not None else None
        if topic is None:
            raise RemoteProtocolError(f"topic alias {alias} is not known")
        return replace(packet, topic=topic.decode())

    def _take(self, client: Client, slot: AckSlot, now: float) -> Callable[[Reason], None] | None:
        """Return the function that decides a QoS 2 message; None when it is decided."""
        session, packet_id = client.session, slot.packet_id
        assert session is not None  # it is online
        received = session.received
        if packet_id in received.ids:  # [MQTT-4.3.3-10]
            received.repeat(packet_id, slot)
            return None
        if received.is_full and not session.has_room_for_id(now):
            self._counters.drop("too_many_unreleased")
            slot.decide(Reason.QUOTA_EXCEEDED)  # [MQTT-3.5.2-1]
            return None
        received.take(packet_id, slot)
        recorder = session.recorder

        def decide(verdict: Reason) -> None:
            received.decide(packet_id, verdict)
            if recorder is not None and packet_id not in received.ids:
                recorder.freed(packet_id)

        return decide

    def _check_quota(self, client: Client) -> None:
        session = client.session
        assert session is not None  # it is online
        waiting = len(client.acks) if client.acks is not None else 0
        if client.five and waiting + session.unreleased >= self._limits.holds:  # [MQTT-3.3.4-7]
            raise RemoteProtocolError(
                f"more than {self._limits.holds} messages not acknowledged",
                Reason.RECEIVE_MAXIMUM_EXCEEDED,
            )

    def _deny(self, client: Client, route: PublishRoute) -> None:
        self._counters.refuse("publish_not_authorized")
        self._counters.drop("publish_not_authorized")
        if self._log_limiter.may_log(client.label, "publish_not_authorized"):
            logger.info("%r may not publish to %.200r", client.label, route.topic)

    def _deliver(self, client: Client, packet: Publish, route: PublishRoute, now: float) -> None:
        message, receivers = _message(client, packet, now), route.receivers
        if route.hooks:
            screened = self._screen(client, message, route)
            if isinstance(screened, Reason | NoRoom):
                return
            message, receivers = screened
        self._router.deliver(message, receivers, now)

    def _screen(
        self, client: Client, message: Message, route: PublishRoute
    ) -> tuple[Message, Receivers] | Reason | NoRoom:
        assert client.session is not None  # it is online
        return self._router.screen(message, route.hooks, route.receivers, client.session)

    def _deliver_held(
        self,
        client: Client,
        packet: Publish,
        route: PublishRoute,
        decide: Callable[[Reason], None],
        now: float,
    ) -> None:
        message, receivers = None, route.receivers
        if route.hooks:
            screened = self._screen(client, _message(client, packet, now), route)
            if isinstance(screened, NoRoom):
                decide(Reason.QUOTA_EXCEEDED)  # this ends the connection of an older client
                return
            if isinstance(screened, Reason):
                decide(screened if client.five else Reason.SUCCESS)  # as in _deny()
                return
            message, receivers = screened
        accepted = SUCCESS if receivers else Reason.NO_MATCHING_SUBSCRIBERS
        hold = Hold(
            lambda ok: decide(accepted if ok else Reason.QUOTA_EXCEEDED),
            has_reason_codes=client.five,
        )
        if message is None:
            message = _message(client, packet, now, hold)
        else:
            message = replace(message, hold=hold)
        hold.keep()  # by the broker, until all local subscribers have seen it
        session = client.session
        records: tuple[Record, ...] = ()
        if packet.qos > 1 and session is not None and session.recorder is not None:
            assert packet.packet_id is not None  # it has a QoS
            records = (ReceivedQos2(session.recorder.number, packet.packet_id),)
        if self._router.deliver(message, receivers, now, records):
            hold.release()
        else:
            hold.refuse()


def _check(packet: Publish) -> None:
    properties = packet.properties
    if properties.subscription_identifiers:  # [MQTT-3.3.4-6]
        raise RemoteProtocolError("subscription identifier from a client")
    validate_response_topic(properties.response_topic)


def _message(client: Client, packet: Publish, now: float, hold: Hold | None = None) -> Message:
    properties, expires_at = packet.properties, None
    if properties is not NO_PROPERTIES:
        if properties.message_expiry_s is not None:
            expires_at = now + properties.message_expiry_s
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
        client.identity,
    )
