"""All sessions: who is connected, who is away and for how long, whose will waits."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from broker.journal.records import Ended, Record, WillEnded
from broker.messages.message import Message, NoRoom
from broker.policy import Identity
from broker.quota.counters import BrokerCounters
from broker.quota.limits import Limits
from broker.routing.router import Router
from broker.sessions.client import Client
from broker.sessions.persistence import HeldWill
from broker.sessions.session import Session
from broker.wire.packets import MQTT_5, Connect, Will
from broker.wire.property_values import NEVER_EXPIRES, NO_PROPERTIES, Properties
from broker.wire.reasons import Reason

logger = logging.getLogger(__name__)

TICK_WORK = 2_000  # sessions and subscriptions ended at one tick: about 10 ms
LOOK_S = 0.1  # between two looks at all sessions for what has expired, 1 ms each


class SessionRegistry:
    """Starts, keeps and ends sessions."""

    def __init__(self, router: Router, limits: Limits, counters: BrokerCounters) -> None:
        self._router = router
        self._limits = limits
        self._counters = counters
        self._sessions: dict[str, Session] = {}
        self._away: set[Session] = set()
        self._by_owner: Counter[str] = Counter()  # sessions of each identity
        self._looked_at = self._ended_at = -LOOK_S  # for expired messages, and for sessions

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._sessions.values()))

    def is_full(self, now: float) -> bool:
        """Return whether one more stored session is one too many; those that are over go first."""
        if len(self._away) >= self._limits.stored_sessions:
            self.end_expired(now)
        return len(self._away) >= self._limits.stored_sessions

    @property
    def away(self) -> int:
        """The number of sessions whose client is away."""
        return len(self._away)

    def is_full_for(self, name: str, now: float) -> bool:
        """Return whether one more stored session of an identity is one too many."""
        return self.is_full(now) or self._by_owner[name] >= self._limits.sessions_per_identity

    def get(self, client_id: str) -> Session | None:
        """Return the session of a client id."""
        return self._sessions.get(client_id)

    def expiry_s(self, connect: Connect, identity: Identity) -> float:
        """Return how long the session is kept after its connection."""
        if not identity.keeps_session:
            return 0.0
        asked = float(connect.properties.session_expiry_s or 0)
        if connect.version < MQTT_5 and not connect.clean_start:
            asked = NEVER_EXPIRES
        return min(asked, self._limits.session_expiry_s)

    def make(self, owner: Identity) -> Session:
        """Return a new session."""
        return Session(
            owner.client_id, owner, self._limits, self._counters, self.drop_expired_messages
        )

    def add(self, session: Session) -> None:
        """Take a session that was stored; its client is away."""
        self._sessions[session.client_id] = session
        self._by_owner[session.owner.name] += 1
        self._away.add(session)

    def open(self, connect: Connect, identity: Identity, now: float) -> tuple[Session, bool]:
        """Find or make the session of a client that comes; say whether it was there before."""
        session = self._sessions.get(identity.client_id)  # [MQTT-3.1.3-2] [MQTT-3.1.2-5]
        if session is not None and session.is_restored and session.expiry_s <= 0:
            self.end(session, now)  # it is there for its will alone
            session = None
        present = session is not None and not connect.clean_start  # [MQTT-3.2.2-2] [MQTT-3.2.2-3]
        if session is not None and session.opening is not None and not session.version:
            present = False  # who made it is not in yet, and has been told nothing
        if session is not None and connect.clean_start:
            self.end(session, now)  # [MQTT-3.1.2-4]
            session = None
        if session is None:  # [MQTT-3.1.2-6]
            session = self.make(identity)
            self._sessions[identity.client_id] = session
            self._by_owner[identity.name] += 1
        is_known = session.owner == identity and not session.is_restored
        session.is_restored = False
        session.owner = identity
        session.expiry_s = self.expiry_s(connect, identity)
        session.expires_at = None
        # one that was stored stays so until it ends: its messages have numbers in the store, and
        # the next client of two that come at once may want it kept
        if session.expiry_s > 0 and session.recorder is None:
            session.set_recorder(self._router.persistence.open_recorder())
        if connect.will is not None and session.recorder is None and session.will_diary is None:
            session.will_diary = self._router.persistence.open_recorder()
        if not is_known:
            self.drop_forbidden(session, now)
        return session, present

    def attach(self, client: Client, session: Session, connect: Connect) -> None:
        """Give a client its session."""
        asked = connect.properties.receive_maximum
        window = self._limits.in_flight
        session.attach(client, window if asked is None else min(window, asked))  # [MQTT-3.3.4-9]
        self._away.discard(session)
        client.session = session
        client.identity = session.owner
        self._router.invalidator.note_session(session.subscriptions)

    def drop_forbidden(self, session: Session, now: float) -> None:
        """Drop the subscriptions its owner has no right to any more, and what only they wanted.

        What came through a shared subscription goes to another member.
        """
        lost = [
            topic_filter
            for topic_filter in session.subscriptions
            if not self._router.may_subscribe(session.owner, topic_filter)
        ]
        for topic_filter in lost:
            del session.subscriptions[topic_filter]
            session.forget_retained(topic_filter)
            self._router.unsubscribe(session, topic_filter)
            self._counters.subscriptions -= 1
        if lost and session.recorder is not None:
            session.recorder.unsubscribed(lost)
        self._router.keep_within(session)
        self._router.invalidator.note_session(session.subscriptions)
        if lost or session.may_read is not None:
            for delivery in session.drop_denied(lost):
                self._router.hand_over(delivery, now)

    def detach(self, client: Client, now: float, *, with_will: bool) -> None:
        """A connection has ended; its will is published, or waits, unless taken back."""
        session, will = client.session, client.will
        client.session = client.will = None  # [MQTT-3.1.2-10]
        if session is None:  # never was online, or was taken over
            return
        session.detach()
        self._router.invalidator.note_session(session.subscriptions)
        delay_s = float(will.properties.will_delay_s or 0) if will is not None else 0.0
        if will is not None and with_will:
            session.will, session.will_at = will, now + delay_s
        if session.expiry_s <= 0:
            self.end(session, now)  # [MQTT-4.1.0-2]
            return
        self.leave(session, now)

    def leave(self, session: Session, now: float) -> None:
        """Keep a session without a connection."""
        session.expires_at = now + session.expiry_s
        self._away.add(session)  # [MQTT-3.1.2-23]
        is_due = session.will is not None and session.will_at <= now
        if session.recorder is not None:
            will = None if is_due else session.will
            session.recorder.closed(
                session.expires_at,
                now,
                _message_of(will, session.owner, session.will_at) if will else None,
                session.will_at,
                takes_back=session.will is None,
            )
        if is_due:
            self._publish_will(session, now)

    def end(self, session: Session, now: float) -> None:
        """Forget a session and all it holds."""
        if self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]
            self._by_owner[session.owner.name] -= 1
            if not self._by_owner[session.owner.name]:
                del self._by_owner[session.owner.name]
        self._away.discard(session)
        for topic_filter in session.subscriptions:
            self._router.unsubscribe(session, topic_filter)
        self._counters.subscriptions -= len(session.subscriptions)
        session.subscriptions.clear()
        recorder = session.recorder or session.will_diary
        session.set_recorder(None)
        session.will_diary = None
        shared = session.find_shared()
        session.clear(len(shared))
        for delivery in shared:
            self._router.hand_over(delivery, now)
        ended = (Ended(recorder.number),) if recorder is not None else ()
        self._publish_will(session, now, ended)  # [MQTT-3.1.2-8] it does not outlive its session

    def drop_expired_messages(self, now: float) -> None:
        """Drop what waits for any session and has expired."""
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            for session in self._sessions.values():
                session.drop_expired(now)

    def end_expired(self, now: float) -> None:
        """Do what tick() does, before something is refused."""
        if now - self._ended_at >= LOOK_S:
            self.tick(now)

    def tick(self, now: float) -> None:
        """End what has expired, publish the wills that are due."""
        self._ended_at = now
        work = 0
        for session in tuple(self._away):  # [MQTT-4.1.0-1] nobody else
            if session.expires_at is not None and session.expires_at <= now:
                self._counters.sessions_expired += 1
                work += 1 + len(session.subscriptions)
                self.end(session, now)  # [MQTT-4.1.0-2]
                if work >= TICK_WORK:  # the rest next time
                    return
            elif session.will is not None and session.will_at <= now:  # [MQTT-3.1.2-8]
                self._publish_will(session, now)

    def publish_last(self, client: Client | None, session: Session, now: float) -> None:
        """Publish a will that does not outlive the broker: all but those a store keeps waiting."""
        if client is not None and client.will is not None:
            will = client.will
            is_kept = session.recorder is not None and session.expiry_s > 0
            if is_kept and will.properties.will_delay_s:
                return
            client.will, session.will = None, will
        elif session.will is None or session.recorder is not None:
            return
        self._publish_will(session, now)

    def _publish_will(self, session: Session, now: float, records: tuple[Record, ...] = ()) -> None:
        will, session.will = session.will, None  # [MQTT-3.1.2-10]; [MQTT-3.1.2-12] of 3.1.1
        recorder = session.recorder or session.will_diary
        if will is not None and recorder is not None:
            records = (WillEnded(recorder.number),)
        if will is not None and not self._router.may_publish(session.owner, will.topic):
            self._counters.drop("will_not_authorized")
            if self._router.log_limiter.may_tell(session.client_id, "will_not_authorized"):
                logger.info("will of %r dropped: not authorized", session.client_id)
            will = None
        message = None if will is None else self._screen(will, session, now)
        if message is not None:  # [MQTT-3.1.2-14]
            self._router.publish(message, records, now=now)
        elif records:
            self._router.persistence.append(records)

    def _screen(self, will: Will, session: Session, now: float) -> Message | None:
        message = _message_of(will, session.owner, now)
        hooks = self._router.hooks.find_publish(will.topic)
        if not hooks:
            return message
        screened = self._router.screen(message, hooks, (), session)
        return None if isinstance(screened, Reason | NoRoom) else screened[0]


def hold_will(will: Will, owner: Identity) -> HeldWill:
    """Return a will as it is stored while its client is connected."""
    properties = will.properties
    kept = replace(message_properties(properties), message_expiry_s=properties.message_expiry_s)
    message = Message(will.topic, will.payload, will.qos, will.retain, owner.name, kept)
    return HeldWill(message, float(properties.will_delay_s or 0))


def _message_of(will: Will, owner: Identity, now: float) -> Message:  # [MQTT-3.1.2-15]
    properties = message_properties(will.properties)  # [MQTT-3.1.3-10]
    expiry_s = will.properties.message_expiry_s
    expires_at = None if expiry_s is None else now + expiry_s
    return Message(
        will.topic,
        will.payload,
        will.qos,
        will.retain,
        owner.name,
        properties,
        expires_at,
        publisher=owner,
    )


def message_properties(properties: Properties) -> Properties:
    """Return those that travel with a message unchanged."""
    kept = Properties(
        payload_format=properties.payload_format,  # [MQTT-3.3.2-4]
        content_type=properties.content_type,  # [MQTT-3.3.2-20]
        response_topic=properties.response_topic,  # [MQTT-3.3.2-15]
        correlation_data=properties.correlation_data,  # [MQTT-3.3.2-16]
        user_properties=properties.user_properties,  # [MQTT-3.3.2-17] [MQTT-3.3.2-18]
    )
    return NO_PROPERTIES if kept == NO_PROPERTIES else kept  # an alias alone costs nothing
