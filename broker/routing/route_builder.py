"""Builds the route of a client's topic, once per client and topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.journal.records import QueueEntry
from broker.messages.topics import validate_topic
from broker.sessions.route import PublishRoute, ReceiverSet
from broker.sessions.session import Session
from broker.sessions.shared_group import SharedGroup
from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import MQTT_5
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from broker.quota.limits import Limits
    from broker.routing.access_check import AccessCheck
    from broker.routing.hooks import Hooks
    from broker.routing.subscription_table import SubscriptionTable
    from broker.sessions.client import Client
    from broker.sessions.route import Receivers

SIZE_MARGIN = 8  # the same message may be longer for another client (length, properties)


class RouteBuilder:
    """Checks the topics of clients and prepares their receivers."""

    def __init__(
        self, subscriptions: SubscriptionTable, access: AccessCheck, hooks: Hooks, limits: Limits
    ) -> None:
        self._subscriptions = subscriptions
        self._access = access
        self._hooks = hooks
        self._limits = limits

    def find_route(self, client: Client, topic_bytes: bytes) -> PublishRoute:
        """Return the route of a client's topic, and cache it; raise if the topic is invalid."""
        route = client.routes.get(topic_bytes)
        if route is None:
            # syntax and rights depend on topic and client only
            route = self._learn_route(client, topic_bytes)
            if len(client.routes) >= self._limits.routes:
                client.forget_routes()
            client.routes[topic_bytes] = route
        return route

    def _learn_route(self, client: Client, topic_bytes: bytes) -> PublishRoute:
        try:
            topic = topic_bytes.decode()  # [MQTT-1.5.4-1] [MQTT-1.5.4-3]
        except UnicodeDecodeError as exc:
            raise RemoteProtocolError(
                "cannot publish: topic is not UTF-8", Reason.MALFORMED_PACKET
            ) from exc
        if "\x00" in topic:
            raise RemoteProtocolError(
                "cannot publish: U+0000 in topic", Reason.MALFORMED_PACKET
            )  # [MQTT-1.5.4-2] [MQTT-4.7.3-2]
        validate_topic(topic)
        if len(topic_bytes) > self._limits.topic_bytes:
            raise RemoteProtocolError(
                f"cannot publish: topic of more than {self._limits.topic_bytes} bytes",
                Reason.TOPIC_NAME_INVALID,
            )
        if topic.count("/") >= self._limits.topic_levels:
            raise RemoteProtocolError(
                f"cannot publish: more than {self._limits.topic_levels} levels",
                Reason.TOPIC_NAME_INVALID,
            )
        identity = client.identity
        if identity is None or not self._access.may_publish(identity, topic):
            return PublishRoute(topic, allowed=False)
        receivers = self._subscriptions.find_receivers(topic, client.session)
        hooks = self._hooks.find_publish(topic, identity, receivers)
        if hooks:  # not plain: handlers/publish.py calls them
            return PublishRoute(topic, allowed=True, receivers=receivers, hooks=hooks)
        return self._build_route(client, topic, receivers)

    def _build_route(self, client: Client, topic: str, receivers: Receivers) -> PublishRoute:
        for receiver, subscription in receivers:
            if not isinstance(receiver, Session | SharedGroup) or subscription.identifiers:
                # not plain: handlers/publish.py delivers one message at a time
                return PublishRoute(topic, allowed=True, receivers=receivers)
        kind = tuple((id(each), how.qos, how.retain_as_published) for each, how in receivers)
        receiver_set = client.receiver_sets.get(kind)
        if receiver_set is None:
            receiver_set = client.receiver_sets[kind] = self._build_receiver_set(client, receivers)
        return PublishRoute(topic, allowed=True, receivers=receivers, receiver_set=receiver_set)

    def _build_receiver_set(self, client: Client, receivers: Receivers) -> ReceiverSet:
        receiver_set = ReceiverSet()
        largest = self._limits.packet_bytes
        sessions: list[Session] = []
        for receiver, subscription in receivers:
            if isinstance(receiver, SharedGroup):
                receiver_set.groups.append(receiver)
                receiver_set.is_as_published |= receiver.is_as_published
                largest = min(largest, receiver.open_for())
                sessions += receiver.members
                continue
            assert isinstance(receiver, Session)  # the caller looked
            sessions.append(receiver)
            receiver_set.is_as_published |= subscription.retain_as_published
            other = receiver.client
            if other is not None:
                largest = min(largest, other.max_packet_bytes)  # [MQTT-3.1.2-24]
                receiver_set.add(other, same=other.five == client.five, qos=subscription.qos)
            if subscription.qos:
                # for a client that is away "same" does not matter: nothing can be sent
                receiver_set.high.append((receiver, (receiver.version == MQTT_5) == client.five))
                if subscription.qos > 1:
                    receiver_set.exact.add(receiver)
                if receiver.overflow is not None and receiver.overflow.is_holding:
                    receiver_set.holding.append(receiver)
                if receiver.recorder is not None:
                    receiver_set.entries += (QueueEntry(receiver.recorder.number, 1),)
        if len(set(sessions)) < len(sessions):
            return (
                receiver_set  # a run would change the order for a session that gets a message twice
            )
        receiver_set.open(largest - SIZE_MARGIN, has_no_receivers=client.five and not receivers)
        return receiver_set
