"""Restores sessions, queues, retained messages and wills from the image of the store.

Messages and sessions that have expired are dropped. So are those that the limits, which may have
changed, do not allow any more. The rights of a session are checked again when its client connects;
the right to a retained message is checked before it is delivered, as after a change of rights.
Sessions and retained messages of an identity that does not exist any more are removed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from broker.journal.records import Cleared
from broker.messages.delivery import Delivery, Encoder
from broker.messages.message import Message
from broker.policy import Identity
from broker.sessions.inflight import PUBREL
from broker.wire import decode_message_properties
from broker.wire.packets import Will

if TYPE_CHECKING:
    from broker.journal.items import StoredSession, StoredWill
    from broker.journal.records import QueueEntry, Stored
    from broker.journal.state import JournalState
    from broker.messages.retained import RetainedStore
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.routing.access_check import AccessCheck
    from broker.routing.session_registry import SessionRegistry
    from broker.routing.subscription_table import SubscriptionTable
    from broker.sessions.persistence import Persistence
    from broker.sessions.session import Session


class _Body(NamedTuple):
    message: Message
    entries: dict[int, QueueEntry]  # by session


class SessionRecovery:
    """Builds sessions and retained messages from an image."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        image: JournalState,
        now: float,
        registry: SessionRegistry,
        subscriptions: SubscriptionTable,
        retained: RetainedStore,
        access: AccessCheck,
        persistence: Persistence,
        limits: Limits,
        counters: BrokerCounters,
    ) -> None:
        self._image = image
        self._now = now
        self._bodies: dict[int, _Body] = {}
        self._registry = registry
        self._subscriptions = subscriptions
        self._retained = retained
        self._access = access
        self._persistence = persistence
        self._limits = limits
        self._counters = counters

    def run(self) -> None:
        """Restore everything, before the first connection."""
        image = self._image
        self._persistence.go_on_from(image.next_session_id, image.next_message_id)
        for topic, message_id in image.retained.items():
            self._restore_retained(topic, self._body(message_id).message)
        self._counters.retained = len(self._retained)
        for stored in sorted(image.sessions.values(), key=lambda each: each.session_id):
            self._restore_session(stored)
        for session in self._registry:
            if self._access.knows(session.owner) is False:
                self._registry.end(session, self._now)
        self._retained.doubt()  # CVE-2018-12546

    def _body(self, message_id: int) -> _Body:
        found = self._bodies.get(message_id)
        if found is None:
            assert self._image.bodies is not None  # the store is not started
            record = self._image.bodies[message_id]
            entries = {each.session_id: each for each in record.entries}
            found = self._bodies[message_id] = _Body(self._message_of(record), entries)
        return found

    def _message_of(self, record: Stored) -> Message:
        return Message(
            record.topic,
            record.payload,
            record.qos,
            record.is_retained,
            record.sender,
            decode_message_properties(record.properties),
            self._persistence.clock.instant(record.expires_at),
            publisher=_publisher_of(record),
        )

    def _restore_retained(self, topic: str, message: Message) -> None:
        if message.is_expired(self._now):
            self._counters.drop("expired")
        elif self._retained.keep(message):
            return
        else:
            self._counters.drop("retained_full")
        self._persistence.append((Cleared(topic),))

    def _restore_session(self, stored: StoredSession) -> None:
        assert stored.client_id is not None  # the image was settled
        owner = Identity(stored.owner, stored.client_id, frozenset(stored.groups))
        session = self._registry.make(owner)
        recorder = self._persistence.open_recorder(stored.session_id)
        assert recorder is not None  # there is a store
        session.set_recorder(recorder)
        expiry_s = min(stored.expiry_s, self._limits.session_expiry_s)
        expires_at = self._persistence.clock.instant(stored.expires_at or 0.0)
        if expires_at is None:  # it was connected
            expires_at = self._now + expiry_s
            recorder.closed(expires_at, self._now)
        else:  # a DISCONNECT may have asked for more than the CONNECT
            expires_at = min(expires_at, self._now + self._limits.session_expiry_s)
        session.note_restored(stored.version, expiry_s, expires_at)
        for subscription in stored.subscriptions.values():
            session.subscriptions[subscription.topic_filter] = subscription
            self._subscriptions.subscribe(session, subscription)
        self._counters.subscriptions += len(session.subscriptions)
        for topic_filter in stored.catching_up.keys() & session.subscriptions.keys():
            session.retained_backlog.add(session.subscriptions[topic_filter])
        self._restore_queue(session, stored)
        if stored.received:
            session.received.restore(stored.received)
        if stored.will is not None:
            self._restore_will(session, stored.will)
        self._registry.add(session)

    def _restore_queue(self, session: Session, stored: StoredSession) -> None:
        recorder = session.recorder
        assert recorder is not None  # it was just made
        packets: dict[bytes, bytes] = {}
        qos2: set[bytes] = set()
        waiting: list[Delivery] = []
        dropped: list[int] = []
        for message_id, packet_id in stored.queue.items():
            message, entries = self._body(message_id)
            entry = entries.get(stored.session_id)
            is_over = not packet_id and message.is_expired(self._now)  # [MQTT-3.3.2-5]
            if entry is None or is_over:
                self._counters.drop("expired" if is_over else "damaged")
                dropped.append(message_id)
                continue
            delivery = Delivery(
                message, entry.retain, entry.identifiers, entry.qos, None, message_id
            )
            if not packet_id:
                waiting.append(delivery)
                continue
            name = packet_id.to_bytes(2, "big")
            head, body = Encoder(message, self._now).parts(
                stored.version, entry.qos, retain=entry.retain, identifiers=entry.identifiers
            )
            packets[name] = head + name + body
            recorder.messages[name] = message_id
            session.note_deadline(name, message)
            if entry.qos > 1:
                qos2.add(name)
        for packet_id in stored.released:
            name = packet_id.to_bytes(2, "big")
            packets[name] = PUBREL + name
            qos2.add(name)
        session.inflight.restore(packets, qos2)
        recorder.dropped(dropped)
        session.restore(waiting, self._now)

    def _restore_will(self, session: Session, will: StoredWill) -> None:
        message, retain = self._body(will.message_id).message, will.retain
        will_at = self._persistence.clock.instant(will.due_at) or self._now + will.delay_s
        if not will.due_at and session.recorder is not None:  # its client was connected
            session.recorder.will_waits(will.message_id, will_at, retain=retain)
        properties = message.properties
        if message.expires_at is not None:
            expiry_s = max(round(message.expires_at - will_at), 0)
            properties = replace(properties, message_expiry_s=expiry_s)
        session.set_will(
            Will(message.topic, message.payload, message.qos, retain, properties), will_at
        )


def _publisher_of(record: Stored) -> Identity | None:
    found = record.publisher
    if found is None:
        return None
    return Identity(record.sender, found.client_id, frozenset(found.groups))
