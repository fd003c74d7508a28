"""Decides which QoS a subscription is granted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.messages.topics import strip_share
from broker.wire.reasons import Reason, describe

if TYPE_CHECKING:
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.quota.log_limiter import LogLimiter
    from broker.routing.access_check import AccessCheck
    from broker.routing.hooks import Hooks
    from broker.routing.loop_time import LoopTime
    from broker.routing.session_registry import SessionRegistry
    from broker.routing.subscription_table import SubscriptionTable
    from broker.sessions.client import Client
    from broker.sessions.session import Session
    from broker.wire.packets import Subscription

logger = logging.getLogger(__name__)


class SubscriptionGrants:
    """Applies limits, rights and hooks, in this order."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        registry: SessionRegistry,
        subscriptions: SubscriptionTable,
        access: AccessCheck,
        hooks: Hooks,
        limits: Limits,
        counters: BrokerCounters,
        log_limiter: LogLimiter,
        time: LoopTime,
    ) -> None:
        self._registry = registry
        self._subscriptions = subscriptions
        self._access = access
        self._hooks = hooks
        self._limits = limits
        self._counters = counters
        self._log_limiter = log_limiter
        self._time = time

    def grant(self, client: Client, session: Session, asked: Subscription) -> int:
        """Return the QoS that is granted, or the reason of the refusal."""
        refusal = self._refuse(session, asked.topic_filter)
        if refusal is not None:
            return self._note_refusal(client, asked.topic_filter, refusal)
        granted = self._hooks.grant(session.owner, asked)
        if granted >= Reason.UNSPECIFIED_ERROR:
            return self._note_refusal(client, asked.topic_filter, Reason(granted))
        return granted

    def _refuse(self, session: Session, topic_filter: str) -> Reason | None:
        limits = self._limits
        is_deep = topic_filter.count("/") >= limits.topic_levels
        if is_deep and strip_share(topic_filter).count("/") >= limits.topic_levels:
            return Reason.TOPIC_FILTER_INVALID
        if len(topic_filter.encode()) > limits.topic_bytes:
            return Reason.TOPIC_FILTER_INVALID
        if not self._access.may_subscribe(session.owner, topic_filter):
            return Reason.NOT_AUTHORIZED
        if topic_filter in session.subscriptions:
            return None
        if self._subscriptions.size_bytes >= limits.subscriptions_bytes:
            self._registry.end_expired(self._time.now)
        if (
            len(session.subscriptions) >= limits.subscriptions
            or self._subscriptions.size_bytes >= limits.subscriptions_bytes
        ):
            return Reason.QUOTA_EXCEEDED
        return None

    def _note_refusal(self, client: Client, topic_filter: str, refusal: Reason) -> Reason:
        kind = f"subscribe_{refusal.name.lower()}"
        self._counters.refuse(kind)
        if self._log_limiter.may_log(client.label, kind):
            why = describe(refusal)
            logger.info("%r may not subscribe to %.200r: %s", client.label, topic_filter, why)
        return refusal
