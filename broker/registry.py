"""All sessions: who is connected, who is away and for how long, whose will waits."""

import logging
from collections.abc import Iterator

from broker.client import Client
from broker.counters import Counters
from broker.limits import Limits
from broker.message import Message
from broker.packets import MQTT_5, Connect, Will
from broker.policy import Identity
from broker.properties import NEVER_EXPIRES, Properties
from broker.reasons import Reason
from broker.router import Router
from broker.session import Session

logger = logging.getLogger(__name__)


class Registry:
    """Starts, keeps and ends sessions."""

    def __init__(self, router: Router, limits: Limits, counters: Counters) -> None:
        self._router = router
        self._limits = limits
        self._counters = counters
        self._sessions: dict[str, Session] = {}
        self._away: set[Session] = set()

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._sessions.values()))

    @property
    def is_full(self) -> bool:
        """Whether one more stored session is one too many."""
        return len(self._away) >= self._limits.stored_sessions

    @property
    def away(self) -> int:
        """How many sessions are kept for clients that are away."""
        return len(self._away)

    def get(self, client_id: str) -> Session | None:
        """Return the session of a client id."""
        return self._sessions.get(client_id)

    def expiry_s(self, connect: Connect) -> float:
        """Return how long the session is kept after its connection."""
        asked = float(connect.properties.session_expiry_s or 0)
        if connect.version < MQTT_5 and not connect.clean_start:
            asked = NEVER_EXPIRES
        return min(asked, self._limits.session_expiry_s)

    def attach(self, client: Client, connect: Connect, identity: Identity, now: float) -> bool:
        """Give a client its session; return whether there was one to go on with."""
        session = self._sessions.get(identity.client_id)
        present = session is not None and not connect.clean_start
        if session is not None and connect.clean_start:
            self.end(session, now)  # [MQTT-3.1.2-4]
            session = None
        if session is None:
            session = Session(identity.client_id, identity, self._limits, self._counters)
            self._sessions[identity.client_id] = session
        asked = connect.properties.receive_maximum
        window = self._limits.in_flight
        is_same, session.owner = session.owner == identity, identity
        if not is_same:  # other groups, another listener: other rights
            self.drop_forbidden(session)
        session.expiry_s = self.expiry_s(connect)
        session.attach(client, window if asked is None else min(window, asked))  # [MQTT-3.3.4-9]
        self._away.discard(session)
        client.session = session
        client.identity = identity
        if session.subscriptions:
            self._router.changed()
        return present

    def drop_forbidden(self, session: Session) -> None:
        """Drop the subscriptions its owner has no right to any more, and what only they wanted."""
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
        self._router.keep_within(session)
        if lost or session.may_read is not None:
            session.drop_unwanted()

    def detach(self, client: Client, now: float, *, with_will: bool) -> None:
        """A connection has ended; its will is published, or waits, unless taken back."""
        session, will = client.session, client.will
        client.session = client.will = None
        if session is None:  # never was online, or was taken over
            return
        session.detach()
        if session.subscriptions:
            self._router.changed()
        delay_s = float(will.properties.will_delay_s or 0) if will is not None else 0.0
        if will is not None and with_will:
            session.will, session.will_at = will, now + delay_s
        if session.expiry_s <= 0:
            self.end(session, now)  # [MQTT-3.1.2-23]
            return
        session.expires_at = now + session.expiry_s
        self._away.add(session)
        if session.will is not None and session.will_at <= now:
            self._publish_will(session, now)

    def end(self, session: Session, now: float) -> None:
        """Forget a session and all it holds."""
        if self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]
        self._away.discard(session)
        for topic_filter in session.subscriptions:
            self._router.unsubscribe(session, topic_filter)
        self._counters.subscriptions -= len(session.subscriptions)
        session.subscriptions.clear()
        shared = session.find_shared()
        session.clear(len(shared))
        for delivery in shared:
            self._router.hand_over(delivery, now)
        self._publish_will(session, now)  # [MQTT-3.1.2-8] the will does not outlive its session

    def tick(self, now: float) -> None:
        """End what has expired, publish the wills that are due."""
        for session in tuple(self._away):
            if session.expires_at is not None and session.expires_at <= now:
                self._counters.sessions_expired += 1
                self.end(session, now)
            elif session.will is not None and session.will_at <= now:
                self._publish_will(session, now)

    def _publish_will(self, session: Session, now: float) -> None:
        will, session.will = session.will, None
        if will is None:
            return
        if not self._router.may_publish(session.owner, will.topic):
            self._counters.drop("will_not_authorized")
            if self._router.story.may_tell(session.client_id, "will_not_authorized"):
                logger.info("will of %r dropped: not authorized", session.client_id)
            return
        message = _message_of(will, session.owner, now)
        hooks = self._router.hooks.find_publish(will.topic)
        if hooks:
            screened = self._router.screen(message, hooks, (), session)
            if isinstance(screened, Reason):
                return
            message = screened[0]
        self._router.publish(message, now)  # [MQTT-3.1.2-14]


def _message_of(will: Will, owner: Identity, now: float) -> Message:
    properties = message_properties(will.properties)
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
    """Return those that travel with a message unchanged."""  # [MQTT-3.3.2-17] and its like
    return Properties(
        payload_format=properties.payload_format,
        content_type=properties.content_type,
        response_topic=properties.response_topic,
        correlation_data=properties.correlation_data,
        user_properties=properties.user_properties,
    )
