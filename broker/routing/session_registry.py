"""Keeps all sessions, and ends those whose time is over."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from broker.journal.records import Ended
from broker.messages.overflow import OverflowControl
from broker.routing.wills import message_of
from broker.sessions.session import Session
from broker.wire.packets import MQTT_5
from broker.wire.property_values import NEVER_EXPIRES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.policy import Identity
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.routing.access_check import AccessCheck
    from broker.routing.invalidation import RouteInvalidator
    from broker.routing.router import Router
    from broker.routing.subscription_table import SubscriptionTable
    from broker.routing.wills import WillPublisher
    from broker.sessions.client import Client
    from broker.sessions.persistence import Persistence
    from broker.wire.packets import Connect

TICK_WORK = 2_000  # sessions and subscriptions ended at one tick: about 10 ms
LOOK_S = 0.1  # between two looks at all sessions for what has expired, 1 ms each


class SessionRegistry:
    """Starts, keeps and ends sessions."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        router: Router,
        wills: WillPublisher,
        subscriptions: SubscriptionTable,
        access: AccessCheck,
        persistence: Persistence,
        invalidator: RouteInvalidator,
        limits: Limits,
        counters: BrokerCounters,
    ) -> None:
        self._router = router
        self._wills = wills
        self._subscriptions = subscriptions
        self._access = access
        self._persistence = persistence
        self._invalidator = invalidator
        self._limits = limits
        self._counters = counters
        self._sessions: dict[str, Session] = {}
        self._away: set[Session] = set()
        self._holding: set[Session] = set()  # those that hold acknowledgements back
        self._by_owner: Counter[str] = Counter()  # sessions of each identity
        self._looked_at = self._ended_at = -LOOK_S  # for expired messages, and for sessions

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._sessions.values()))

    def is_full(self, now: float) -> bool:
        """Return whether one more stored session is too many; expired sessions are ended first."""
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
        """Add a session from the store; its client is away."""
        self._sessions[session.client_id] = session
        self._by_owner[session.owner.name] += 1
        self._away.add(session)

    def open(self, connect: Connect, identity: Identity, now: float) -> tuple[Session, bool]:
        """Find or make the session of a CONNECT; return whether it was present before."""
        session = self._sessions.get(identity.client_id)  # [MQTT-3.1.3-2] [MQTT-3.1.2-5]
        if session is not None and session.is_restored and session.expiry_s <= 0:
            self.end(session, now)  # it was kept for its will only
            session = None
        present = session is not None and not connect.clean_start  # [MQTT-3.2.2-2] [MQTT-3.2.2-3]
        if session is not None and session.opening is not None and not session.version:
            present = False  # the client that made it is not online yet, and has no CONNACK
        if session is not None and connect.clean_start:
            self.end(session, now)  # [MQTT-3.1.2-4]
            session = None
        if session is None:  # [MQTT-3.1.2-6]
            session = self.make(identity)
            self._sessions[identity.client_id] = session
            self._by_owner[identity.name] += 1
        is_known = session.owner == identity and not session.is_restored
        session.claim(identity, self.expiry_s(connect, identity))
        self._apply_overflow(session)
        # a stored session stays stored until it ends: its messages have numbers in the store, and
        # of two clients that connect at once the second may want it kept
        if session.expiry_s > 0 and session.recorder is None:
            session.set_recorder(self._persistence.open_recorder())
        if connect.will is not None and session.recorder is None and session.will_recorder is None:
            session.set_will_recorder(self._persistence.open_recorder())
        if not is_known:
            self.drop_forbidden(session, now)
        return session, present

    def _apply_overflow(self, session: Session) -> None:
        rule = session.owner.overflow
        if rule is None:
            return
        if session.overflow is not None:
            session.overflow.set_rule(rule)
            return
        session.use_overflow(
            OverflowControl(session.client_id, rule, lambda: self._note_flow(session))
        )

    def _note_flow(self, session: Session) -> None:
        if session.overflow is not None and session.overflow.is_holding:
            self._holding.add(session)
        else:
            self._holding.discard(session)
        self._invalidator.note_session(session.subscriptions)

    def attach(self, client: Client, session: Session, connect: Connect) -> None:
        """Give a client its session."""
        asked = connect.properties.receive_maximum
        window = self._limits.in_flight
        session.attach(client, window if asked is None else min(window, asked))  # [MQTT-3.3.4-9]
        self._away.discard(session)
        client.take_session(session)
        self._invalidator.note_session(session.subscriptions)

    def drop_forbidden(self, session: Session, now: float) -> None:
        """Drop subscriptions that are not allowed any more, and messages that only they match.

        A message of a shared subscription goes to another member.
        """
        lost = [
            topic_filter
            for topic_filter in session.subscriptions
            if not self._access.may_subscribe(session.owner, topic_filter)
        ]
        for topic_filter in lost:
            del session.subscriptions[topic_filter]
            session.retained_backlog.forget(topic_filter)
            self._subscriptions.unsubscribe(session, topic_filter)
            self._counters.subscriptions -= 1
        if lost and session.recorder is not None:
            session.recorder.unsubscribed(lost)
        self._access.restrict(session)
        self._invalidator.note_session(session.subscriptions)
        if lost or session.may_read is not None:
            for delivery in session.drop_denied(lost):
                self._router.hand_over(delivery, now)

    def detach(self, client: Client, now: float, *, with_will: bool) -> None:
        """Note the end of a connection; its will is published or delayed, unless discarded."""
        session, will = client.give_up_session()  # [MQTT-3.1.2-10]
        if session is None:  # it was never online, or its session was taken over
            return
        session.detach()
        self._invalidator.note_session(session.subscriptions)
        delay_s = float(will.properties.will_delay_s or 0) if will is not None else 0.0
        if will is not None and with_will:
            session.set_will(will, now + delay_s)
        if session.expiry_s <= 0:
            self.end(session, now)  # [MQTT-4.1.0-2]
            return
        self.leave(session, now)

    def leave(self, session: Session, now: float) -> None:
        """Keep a session without a connection."""
        expires_at = now + session.expiry_s
        session.leave(expires_at)
        self._away.add(session)  # [MQTT-3.1.2-23]
        is_due = session.will is not None and session.will_at <= now
        if session.recorder is not None:
            will = None if is_due else session.will
            session.recorder.closed(
                expires_at,
                now,
                message_of(will, session.owner, session.will_at) if will else None,
                session.will_at,
                takes_back=session.will is None,
            )
        if is_due:
            self._wills.publish(session, now)

    def end(self, session: Session, now: float) -> None:
        """Remove a session and all its messages."""
        session.end()
        if self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]
            self._by_owner[session.owner.name] -= 1
            if not self._by_owner[session.owner.name]:
                del self._by_owner[session.owner.name]
        self._away.discard(session)
        for topic_filter in session.subscriptions:
            self._subscriptions.unsubscribe(session, topic_filter)
        self._counters.subscriptions -= len(session.subscriptions)
        session.subscriptions.clear()
        recorder = session.recorder or session.will_recorder
        session.set_recorder(None)
        session.set_will_recorder(None)
        shared = session.find_shared()
        session.clear(len(shared))
        for delivery in shared:
            self._router.hand_over(delivery, now)
        ended = (Ended(recorder.number),) if recorder is not None else ()
        self._wills.publish(session, now, ended)  # [MQTT-3.1.2-8] it does not outlive its session

    def drop_expired_messages(self, now: float) -> None:
        """Drop the expired messages of all sessions."""
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            for session in self._sessions.values():
                session.drop_expired(now)

    def end_expired(self, now: float) -> None:
        """End expired sessions before something is refused."""
        if now - self._ended_at >= LOOK_S:
            self.tick(now)

    def tick(self, now: float) -> None:
        """End what has expired, publish the wills that are due."""
        self._ended_at = now
        for session in tuple(self._holding):
            assert session.overflow is not None  # it holds
            session.overflow.tick(now)
        work = 0
        for session in tuple(self._away):  # [MQTT-4.1.0-1] no other sessions
            if session.expires_at is not None and session.expires_at <= now:
                self._counters.sessions_expired += 1
                work += 1 + len(session.subscriptions)
                self.end(session, now)  # [MQTT-4.1.0-2]
                if work >= TICK_WORK:  # the rest next time
                    return
            elif session.will is not None and session.will_at <= now:  # [MQTT-3.1.2-8]
                self._wills.publish(session, now)
