"""Handles SUBSCRIBE and UNSUBSCRIBE."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.messages.topics import SHARED, validate_filter
from broker.sessions.client import Client, ConnectionState
from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import (
    MQTT_3_1,
    Packet,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
)
from broker.wire.reasons import SUBSCRIBE_FAILED_3, Reason

if TYPE_CHECKING:
    from broker.handlers.acknowledge import AckHandler
    from broker.handlers.grants import SubscriptionGrants
    from broker.handlers.replies import Replies
    from broker.messages.retained import RetainedStore
    from broker.quota.counters import BrokerCounters
    from broker.routing.subscription_table import SubscriptionTable
    from broker.sessions.persistence import Persistence
    from broker.sessions.session import Session

MAX_QOS = 2  # codes up to it in a SUBACK are grants


class SubscribeHandler:
    """Adds and removes the subscriptions of clients."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        grants: SubscriptionGrants,
        subscriptions: SubscriptionTable,
        retained: RetainedStore,
        persistence: Persistence,
        acks: AckHandler,
        replies: Replies,
        counters: BrokerCounters,
    ) -> None:
        self._grants = grants
        self._subscriptions = subscriptions
        self._retained = retained
        self._persistence = persistence
        self._acks = acks
        self._replies = replies
        self._counters = counters

    def handle_subscribe(self, client: Client, packet: Subscribe) -> None:
        """Take a SUBSCRIBE."""
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
        before = {each: kept.get(each) for each in filters} if session.recorder is not None else {}
        codes = [self._subscribe_one(client, session, each) for each in packet.subscriptions]
        if session.recorder is None or min(codes) > MAX_QOS:
            self._answer_subscribe(client, packet, codes)
            return

        def done(ok: bool) -> None:
            if not ok:
                self._take_back(session, before)
            if client.state is ConnectionState.ONLINE:
                quota = Reason.QUOTA_EXCEEDED
                self._answer_subscribe(
                    client, packet, codes if ok else [max(each, quota) for each in codes]
                )
                self._persistence.touch(client)

        pairs = zip(packet.subscriptions, codes, strict=True)
        granted = [kept[each.topic_filter] for each, code in pairs if code <= MAX_QOS]
        session.recorder.subscribed(granted, session.retained_backlog.pending, done)

    def _answer_subscribe(self, client: Client, packet: Subscribe, codes: list[int]) -> None:
        if client.five:
            answers = tuple(codes)  # [MQTT-3.9.3-2]
        else:
            failed = Reason.UNSPECIFIED_ERROR  # [MQTT-3.9.3-2] of 3.1.1
            # 3.1 has no code for a refusal: its SUBACK grants the QoS, and nothing is sent
            refused = SUBSCRIBE_FAILED_3 if client.version != MQTT_3_1 else None
            answers = tuple(
                (each.qos if refused is None else refused) if code >= failed else code
                for each, code in zip(packet.subscriptions, codes, strict=True)
            )
        # [MQTT-3.8.4-1] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.9.3-1] a code for each, in order
        self._replies.send(
            client, SubAck(packet.packet_id, answers)
        )  # [MQTT-3.8.4-2] [MQTT-2.2.1-6]
        if client.session is not None and client.session.retained_backlog:  # it fitted
            self._acks.pump(client, client.session)

    def _take_back(self, session: Session, before: dict[str, Subscription | None]) -> None:
        """Undo subscriptions that could not be stored."""
        self._counters.refuse("not_stored")
        for topic_filter, old in before.items():
            if topic_filter not in session.subscriptions:  # the session has ended
                continue
            if old is None:
                del session.subscriptions[topic_filter]
                self._counters.subscriptions -= 1
                session.retained_backlog.forget(topic_filter)
                self._subscriptions.unsubscribe(session, topic_filter)
            else:
                session.subscriptions[topic_filter] = old
                self._subscriptions.subscribe(session, old)

    def _subscribe_one(self, client: Client, session: Session, asked: Subscription) -> int:
        topic_filter = asked.topic_filter
        known = topic_filter in session.subscriptions
        granted = self._grants.grant(client, session, asked)
        if granted >= Reason.UNSPECIFIED_ERROR:
            return granted
        if client.session is not session:  # a hook disconnected it
            return Reason.NOT_AUTHORIZED
        if granted != asked.qos:
            asked = replace(asked, qos=granted)
        session.subscriptions[topic_filter] = asked
        self._counters.subscriptions += not known
        self._subscriptions.subscribe(session, asked)
        # [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]: 0 always, 1 when new, 2 never
        if topic_filter.startswith(SHARED):  # no retained messages for one of many
            return asked.qos
        wants = asked.retain_handling == 0 or (asked.retain_handling == 1 and not known)
        if wants and self._retained.may_match(topic_filter):
            session.retained_backlog.add(asked)  # [MQTT-3.8.4-4]
        return asked.qos  # [MQTT-3.8.4-7]

    def handle_unsubscribe(self, client: Client, packet: Unsubscribe) -> None:
        """Take an UNSUBSCRIBE."""
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
            self._subscriptions.unsubscribe(session, topic_filter)  # [MQTT-3.10.4-2]
            session.retained_backlog.forget(topic_filter)  # [MQTT-3.10.4-3] nothing else
            gone.append(topic_filter)
            codes.append(Reason.SUCCESS)  # [MQTT-3.11.3-1]
        # [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] answered, whatever was subscribed
        answer = UnsubAck(packet.packet_id, tuple(codes))  # [MQTT-2.2.1-6]
        if session.recorder is None or not gone:
            self._replies.send(client, answer)
        else:
            session.recorder.unsubscribed(gone, lambda ok: self._answer_safe(client, answer, ok=ok))

    def _answer_safe(self, client: Client, answer: Packet, *, ok: bool) -> None:
        if ok and client.state is ConnectionState.ONLINE:
            self._replies.send(client, answer)
            self._persistence.touch(client)


def _as_bridge(asked: Subscription) -> Subscription:
    """Return a subscription with the options of a bridge, which MQTT 3 cannot express."""
    if asked.topic_filter.startswith(SHARED):  # [MQTT-3.8.3-4]
        return asked
    return replace(asked, no_local=True, retain_as_published=True)
