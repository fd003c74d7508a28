"""Keeps and removes retained messages, in memory and in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.journal.records import Cleared
from broker.messages.retained import RetainedStore

if TYPE_CHECKING:
    from broker.journal.records import Record
    from broker.messages.message import Message
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.routing.access_check import AccessCheck
    from broker.sessions.persistence import Persistence

EXPIRED_STEP = 100  # expired messages that are removed for one that does not fit: 1 ms


class RetainedMessages:
    """Applies rights, expiry and limits to the retained messages of one broker."""

    def __init__(
        self,
        access: AccessCheck,
        persistence: Persistence,
        counters: BrokerCounters,
        limits: Limits,
    ) -> None:
        self.store = RetainedStore(limits.retained_messages, limits.retained_bytes, self._may_stay)
        self._access = access
        self._persistence = persistence
        self._counters = counters

    def take(self, message: Message, records: tuple[Record, ...], now: float) -> bool:
        """Return whether a message is retained now; if not, store the records that came with it."""
        persistence = self._persistence
        if persistence.is_on:
            self.store.wait(message.topic)
        if self._retain(message, now):  # [MQTT-3.3.1-8]
            return True
        if persistence.is_on:
            self.store.settle(message.topic, message, ok=False)
            persistence.append(records)
        return False

    def settle(self, message: Message, retained: Message | None, *, ok: bool) -> None:
        """Note that a message is stored, or cannot be; retained is what was kept of it."""
        self.store.settle(message.topic, retained, ok=ok)
        self._counters.retained = len(self.store)

    def forget_all_of(self, name: str) -> None:
        """Remove the retained messages that an identity has published."""
        for topic in self.store.find_of(name):
            self._drop(topic)

    def drop_expired(self, count: int, now: float) -> int:
        """Remove up to count messages that have expired; return how many."""
        topics = self.store.take_expired(count, now)
        for topic in topics:
            self._drop(topic, "retained_expired")
        return len(topics)

    def _may_stay(self, message: Message) -> bool:
        # CVE-2018-12546: a retained message must not outlive the right to publish it
        publisher = message.publisher
        if publisher is None:
            return True
        known = self._access.knows(publisher)
        if known is None or (known and self._access.may_publish(publisher, message.topic)):
            return True
        self._drop(message.topic)
        return False

    def _drop(self, topic: str, reason: str = "retained_not_authorized") -> None:
        self.store.forget(topic)
        self._persistence.append((Cleared(topic),))
        self._counters.retained = len(self.store)
        self._counters.drop(reason)

    def _retain(self, message: Message, now: float) -> bool:
        kept = True
        if message.payload:
            kept = self._keep(message.without_hold(), now)
            if not kept and not message.qos:  # [MQTT-3.3.1-7] of 3.1.1: the old one goes as well
                self.store.forget(message.topic)
                self._persistence.append((Cleared(message.topic),))
        else:
            self.store.forget(message.topic)  # [MQTT-3.3.1-6] [MQTT-3.3.1-7]
        self._counters.retained = len(self.store)
        if not kept:
            self._counters.drop("retained_full")
        return kept

    def _keep(self, message: Message, now: float) -> bool:
        while not self.store.keep(message):
            if not self.drop_expired(EXPIRED_STEP, now):  # [MQTT-3.3.2-5] before it is refused
                return False
        return True
