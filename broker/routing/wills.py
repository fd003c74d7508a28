"""Publishes the wills of clients, or holds them for their delay."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.journal.records import Record, WillEnded
from broker.messages.message import Message, NoRoom, message_properties
from broker.sessions.persistence import HeldWill
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from broker.policy import Identity
    from broker.quota.counters import BrokerCounters
    from broker.quota.log_limiter import LogLimiter
    from broker.routing.access_check import AccessCheck
    from broker.routing.hooks import Hooks
    from broker.routing.router import Router
    from broker.sessions.client import Client
    from broker.sessions.persistence import Persistence
    from broker.sessions.session import Session
    from broker.wire.packets import Will

logger = logging.getLogger(__name__)


class WillPublisher:
    """Publishes wills that are due, after rights and hooks have allowed them."""

    def __init__(
        self,
        router: Router,
        access: AccessCheck,
        hooks: Hooks,
        persistence: Persistence,
        counters: BrokerCounters,
        log_limiter: LogLimiter,
    ) -> None:
        self._router = router
        self._access = access
        self._hooks = hooks
        self._persistence = persistence
        self._counters = counters
        self._log_limiter = log_limiter

    def publish_last(self, client: Client | None, session: Session, now: float) -> None:
        """Publish a will when the broker stops, unless the store keeps it."""
        if client is not None and client.will is not None:
            will = client.will
            is_kept = session.recorder is not None and session.expiry_s > 0
            if is_kept and will.properties.will_delay_s:
                return
            client.take_will()
            session.set_will(will)
        elif session.will is None or session.recorder is not None:
            return
        self.publish(session, now)

    def publish(self, session: Session, now: float, records: tuple[Record, ...] = ()) -> None:
        """Publish the will of a session, if there is one, and store the records with it."""
        will = session.take_will()  # [MQTT-3.1.2-10]; [MQTT-3.1.2-12] of 3.1.1
        recorder = session.recorder or session.will_recorder
        if will is not None and recorder is not None:
            records = (WillEnded(recorder.number),)
        if will is not None and not self._access.may_publish(session.owner, will.topic):
            self._counters.drop("will_not_authorized")
            if self._log_limiter.may_log(session.client_id, "will_not_authorized"):
                logger.info("will of %r dropped: not authorized", session.client_id)
            will = None
        message = None if will is None else self._screen(will, session, now)
        if message is not None:  # [MQTT-3.1.2-14]
            self._router.publish(message, records, now=now)
        elif records:
            self._persistence.append(records)

    def _screen(self, will: Will, session: Session, now: float) -> Message | None:
        message = message_of(will, session.owner, now)
        hooks = self._hooks.find_publish(will.topic, session.owner)
        if not hooks:
            return message
        screened = self._router.screen(message, hooks, (), session)
        return None if isinstance(screened, Reason | NoRoom) else screened[0]


def hold_will(will: Will, owner: Identity) -> HeldWill:
    """Return a will in the form that is stored while its client is connected."""
    properties = will.properties
    kept = replace(message_properties(properties), message_expiry_s=properties.message_expiry_s)
    message = Message(will.topic, will.payload, will.qos, will.retain, owner.name, kept)
    return HeldWill(message, float(properties.will_delay_s or 0))


def message_of(will: Will, owner: Identity, now: float) -> Message:  # [MQTT-3.1.2-15]
    """Return the message of a will; its life is counted from now."""
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
