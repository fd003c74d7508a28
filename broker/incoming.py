"""What a client publishes, one packet at a time, and how it is acknowledged.

Theory of operation
-------------------
A QoS 1 message is answered by a PUBACK, a QoS 2 message by a PUBREC and, once its PUBREL came, a
PUBCOMP. The first answer waits for the message's hold, in a line (acks.py) that keeps the order
of the publishes. A QoS 2 message is routed when it comes for the first time; its packet id is
kept by the session (received.py) so that it is not routed again. [MQTT-4.3.3-10]
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from broker.acks import AckLine, Place
from broker.client import Client, State
from broker.errors import RemoteProtocolError
from broker.hooks import NoRoom
from broker.journal.records import Received, Record
from broker.message import Hold, Message
from broker.packets import Packet, PubAck, PubComp, Publish, PubRec, PubRel
from broker.properties import NO_PROPERTIES
from broker.reasons import Reason
from broker.registry import message_properties
from broker.router import is_stored
from broker.topics import validate_response_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.limits import Limits
    from broker.route import Receivers, Route
    from broker.router import Router

logger = logging.getLogger(__name__)

TURN_PAIRS = 8  # user properties of a message, at 3 us each, are a unit of a turn
RETAIN = 0x01
PUBACK = b"\x40\x02"  # the short form, which says success in MQTT 5
SHORT_BYTES = 4  # of it with its packet id
SUCCESS, FAILURE = Reason.SUCCESS, Reason.UNSPECIFIED_ERROR  # speed: as in client.py


class Voice(Protocol):
    """What speaks to clients."""

    def send(self, client: Client, packet: Packet) -> None:
        """Put a packet behind what the client is sent already."""

    def end(self, client: Client, reason: Reason) -> None:
        """Say why and close."""


class Incoming:
    """Takes PUBLISH and PUBREL."""

    def __init__(
        self, router: Router, limits: Limits, voice: Voice, wake: Callable[[], None]
    ) -> None:
        self._router = router
        self._limits = limits
        self._voice = voice
        self._wake = wake  # a decided hold has output that no read causes
        self._counters = router.counters

    def publish(self, client: Client, packet: Publish, now: float) -> None:
        """Route a message, and acknowledge it when it is safe."""
        _check(packet)
        self._router.turns.left -= len(packet.properties.user_properties) // TURN_PAIRS
        if packet.properties.topic_alias is not None:
            packet = self._put_topic_back(client, packet, packet.properties.topic_alias)
        route = self._router.find_route(client, packet.topic.encode())
        self._counters.messages_received += 1
        if self._router.backpressure.line:
            self._router.backpressure.pass_through(client)
        if packet.packet_id is None:  # [MQTT-3.3.4-1]
            if route.allowed:
                self._deliver(client, packet, route, now)
            else:
                self._deny(client, route)
            return
        self._check_quota(client)
        line = self.line_of(client)
        place = line.join(packet.packet_id, packet.qos)  # [MQTT-2.2.1-5]
        # [MQTT-4.3.2-5]
        decide = place.decide if packet.qos == 1 else self._take(client, place, now)
        if decide is None:
            return
        if route.allowed:
            self._deliver_held(client, packet, route, decide, now)
        else:
            self._deny(client, route)
            # [MQTT-3.3.5-2] of 3.1.1, which has no word for "no": acknowledged, and gone
            decide(Reason.NOT_AUTHORIZED if client.five else Reason.SUCCESS)  # [MQTT-3.4.2-1]
        if not client.five and len(line) >= self._limits.holds:
            client.held = True  # 3.1.1 has no receive maximum: read no further
            self._router.touched.add(client)

    def is_for_store(self, client: Client, first: int, topic: bytes) -> bool:
        """Return whether a PUBLISH with this first byte would add to the store."""
        session, qos = client.session, first >> 1 & 3
        if session is None:
            return False  # a fault, of which its handler tells
        if not topic or first & RETAIN or (qos > 1 and session.diary is not None):
            return True  # without a topic it has an alias, and may be for anybody
        receivers = self._router.find_route(client, topic).receivers
        return any(is_stored(receiver) for receiver, _ in receivers)

    def has_room(self, client: Client) -> bool:
        """Return whether a client may send more before it is acknowledged."""
        return client.five or client.acks is None or len(client.acks) < self._limits.holds

    def line_of(self, client: Client) -> AckLine:
        """Return where acknowledgements of a client wait."""
        line = client.acks
        if line is None:
            line = client.acks = AckLine(lambda: self._let_acks_go(client))
        return line

    def release(self, client: Client, packet: PubRel) -> None:
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
        if session.diary is None:
            self._voice.send(client, answer)
        else:
            session.diary.freed(packet.packet_id, lambda ok: self._answer_safe(client, answer, ok))

    def _answer_safe(self, client: Client, answer: Packet, ok: bool) -> None:
        if ok and client.state is State.ONLINE:
            self._voice.send(client, answer)
            self._wake()

    def _put_topic_back(self, client: Client, packet: Publish, alias: int) -> Publish:
        if alias > self._limits.topic_aliases:  # [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-3.3.2-12]
            raise RemoteProtocolError(f"topic alias {alias}", Reason.TOPIC_ALIAS_INVALID)
        if client.aliases is None:
            client.aliases = {}  # [MQTT-3.3.2-7]
        key = alias.to_bytes(2, "big")
        if packet.topic:
            client.aliases[key] = packet.topic.encode()
            return packet
        topic = client.aliases.get(key)
        if topic is None:
            raise RemoteProtocolError(f"topic alias {alias} stands for no topic")
        return replace(packet, topic=topic.decode())

    def _take(self, client: Client, place: Place, now: float) -> Callable[[Reason], None] | None:
        """Return what decides about a QoS 2 message, None when there is nothing to decide."""
        session, packet_id = client.session, place.packet_id
        assert session is not None  # it is online
        received = session.received
        if packet_id in received.ids:  # [MQTT-4.3.3-10]
            received.repeat(packet_id, place)
            return None
        if received.is_full and not session.has_room_for_id(now):
            self._counters.drop("too_many_unreleased")
            place.decide(Reason.QUOTA_EXCEEDED)  # [MQTT-3.5.2-1]
            return None
        received.take(packet_id, place)
        diary = session.diary

        def decide(verdict: Reason) -> None:
            received.decide(packet_id, verdict)
            if diary is not None and packet_id not in received.ids:
                diary.freed(packet_id)

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

    def _deny(self, client: Client, route: Route) -> None:
        self._counters.refuse("publish_not_authorized")
        self._counters.drop("publish_not_authorized")
        if self._router.story.may_tell(client.label, "publish_not_authorized"):
            logger.info("%r may not publish to %.200r", client.label, route.topic)

    def _deliver(self, client: Client, packet: Publish, route: Route, now: float) -> None:
        message, receivers = _message(client, packet, now), route.receivers
        if route.hooks:
            screened = self._screen(client, message, route)
            if isinstance(screened, Reason | NoRoom):
                return
            message, receivers = screened
        self._router.deliver(message, receivers, now)

    def _screen(
        self, client: Client, message: Message, route: Route
    ) -> tuple[Message, Receivers] | Reason | NoRoom:
        assert client.session is not None  # it is online
        return self._router.screen(message, route.hooks, route.receivers, client.session)

    def _deliver_held(
        self,
        client: Client,
        packet: Publish,
        route: Route,
        decide: Callable[[Reason], None],
        now: float,
    ) -> None:
        message, receivers = None, route.receivers
        if route.hooks:
            screened = self._screen(client, _message(client, packet, now), route)
            if isinstance(screened, NoRoom):
                decide(Reason.QUOTA_EXCEEDED)  # which ends the connection of an older client
                return
            if isinstance(screened, Reason):
                decide(screened if client.five else Reason.SUCCESS)  # as in _deny()
                return
            message, receivers = screened
        accepted = SUCCESS if receivers else Reason.NO_MATCHING_SUBSCRIBERS
        hold = Hold(
            lambda ok: decide(accepted if ok else Reason.QUOTA_EXCEEDED), can_tell=client.five
        )
        if message is None:
            message = _message(client, packet, now, hold)
        else:
            message = replace(message, hold=hold)
        hold.keep()  # by the broker, until all local subscribers have seen it
        session = client.session
        records: tuple[Record, ...] = ()
        if packet.qos > 1 and session is not None and session.diary is not None:
            assert packet.packet_id is not None  # it has a QoS
            records = (Received(session.diary.number, packet.packet_id),)
        if self._router.deliver(message, receivers, now, records):
            hold.release()
        else:
            hold.refuse()

    def _let_acks_go(self, client: Client) -> None:
        line = client.acks
        assert line is not None  # it calls
        self._wake()
        for place, verdict in line.take_ready():
            self._answer(client, place, verdict)
        if client.held and client.state is State.ONLINE and len(line) < self._limits.holds:
            client.held = False
            self._router.touched.add(client)

    def _answer(self, client: Client, place: Place, verdict: Reason) -> None:
        is_refusal = verdict >= FAILURE
        if is_refusal and not client.five:  # it has no word for it
            self._counters.refuse(verdict.name.lower())
            self._voice.end(client, verdict)  # [MQTT-4.8.0-2] of 3.1.1
            return
        if place.run:
            self._answer_run(client, place.run, verdict)
            return
        if place.qos == 1:
            if verdict or client.max_packet_bytes < SHORT_BYTES:
                self._voice.send(client, PubAck(place.packet_id, verdict))  # [MQTT-4.3.2-4]
            else:
                packet_id = place.packet_id.to_bytes(2, "big")
                self._answer_short(client, PUBACK, (packet_id,))  # [MQTT-4.3.2-4]
            return
        session = client.session
        assert session is not None  # the line of one that has left is closed
        if not is_refusal:
            session.received.unreleased.add(place.packet_id)
        self._voice.send(client, PubRec(place.packet_id, verdict))  # [MQTT-4.3.3-8]

    def _answer_run(self, client: Client, packet_ids: tuple[bytes, ...], verdict: Reason) -> None:
        if not verdict:
            self._answer_short(client, PUBACK, packet_ids)
            return
        for packet_id in packet_ids:
            self._voice.send(client, PubAck(int.from_bytes(packet_id, "big"), verdict))

    def _answer_short(self, client: Client, kind: bytes, packet_ids: tuple[bytes, ...]) -> None:
        # speed: without packet objects (benchmarks/, QoS 1 to a shared group)
        client.out.append(kind + kind.join(packet_ids))
        self._counters.send_control(len(packet_ids), SHORT_BYTES * len(packet_ids))
        self._router.touched.add(client)


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
