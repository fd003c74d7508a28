"""Keeps the subscriptions of sessions, shared groups and local clients."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from broker.messages.topics import SHARED, SubscriptionTree, strip_share
from broker.sessions.session import Session
from broker.sessions.shared_group import SharedGroup
from broker.wire.packets import Subscription

if TYPE_CHECKING:
    from broker.routing.access_check import AccessCheck
    from broker.routing.invalidation import RouteInvalidator
    from broker.sessions.outbound import Outbound
    from broker.sessions.route import Receiver, Receivers


class SubscriptionTable:
    """Finds the receivers of a topic."""

    def __init__(
        self, access: AccessCheck, invalidator: RouteInvalidator, touched: dict[Outbound, None]
    ) -> None:
        self._access = access
        self._invalidator = invalidator
        self._touched = touched
        self._tree: SubscriptionTree[Receiver] = SubscriptionTree()
        self._groups: dict[str, SharedGroup] = {}  # by filter, share name included

    @property
    def size_bytes(self) -> int:
        """The approximate memory of all subscriptions."""
        return self._tree.size_bytes

    def subscribe(self, receiver: Receiver, subscription: Subscription) -> None:
        """Add or replace a subscription."""
        topic_filter = subscription.topic_filter
        if topic_filter.startswith(SHARED):
            assert isinstance(receiver, Session)  # local clients share nothing
            group = self._groups.get(topic_filter)
            if group is None:
                group = self._groups[topic_filter] = SharedGroup(self._touched)
                self._tree.add(group, Subscription(strip_share(topic_filter), qos=2))
            group.add(receiver, subscription)
        else:
            self._tree.add(receiver, subscription)
            if isinstance(receiver, Session):
                self._access.restrict_filter(receiver, topic_filter)
        self._invalidator.note(topic_filter)

    def unsubscribe(self, receiver: Receiver, topic_filter: str) -> None:
        """Remove a subscription."""
        group = self._groups.get(topic_filter)
        if group is None:
            self._tree.remove(receiver, topic_filter)
        elif isinstance(receiver, Session):
            group.remove(receiver)
            if group.is_empty:
                del self._groups[topic_filter]
                self._tree.remove(group, strip_share(topic_filter))
        self._invalidator.note(topic_filter)

    def find_receivers(self, topic: str, origin: Session | None) -> Receivers:
        """Return each receiver once, with its matching subscriptions merged into one."""
        found: dict[Receiver, Subscription] = {}
        several: dict[Receiver, list[Subscription]] = {}
        for receiver, subscription in self._tree.match(topic):  # [MQTT-3.3.2-3]
            if subscription.no_local and receiver is origin:  # [MQTT-3.8.3-3]
                continue
            if isinstance(receiver, Session) and not receiver.reads(topic):
                continue
            first = found.setdefault(receiver, subscription)
            if first is not subscription:
                several.setdefault(receiver, [first]).append(subscription)
        for receiver, subscriptions in several.items():
            found[receiver] = _merge(subscriptions)
        return tuple(found.items())

    def count_shared(self) -> int:
        """Return the number of shared subscriptions."""
        return sum(map(len, self._groups.values()))


def is_stored(receiver: Receiver) -> bool:
    """Return whether messages for a receiver may go to the store."""
    if isinstance(receiver, Session):
        return receiver.recorder is not None
    return isinstance(receiver, SharedGroup) and any(map(is_stored, receiver.members))


def _merge(matching: list[Subscription]) -> Subscription:
    # [MQTT-3.3.4-2] the highest QoS of all that match; [MQTT-3.3.4-4] every identifier
    return replace(
        max(matching, key=lambda each: each.qos),
        retain_as_published=any(each.retain_as_published for each in matching),
        identifiers=tuple(chain.from_iterable(each.identifiers for each in matching)),
    )
