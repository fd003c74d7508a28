"""Closes connections whose time is over: CONNECT, keep-alive, re-authentication, credentials."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.sessions.client import CLOSED, ONLINE, Client
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.handlers.enhanced_auth import EnhancedAuth
    from broker.handlers.replies import Replies
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.quota.log_limiter import LogLimiter

logger = logging.getLogger(__name__)


class ConnectionDeadlines:
    """Watches the deadlines of all connections of one broker."""

    def __init__(
        self,
        clients: Collection[Client],
        replies: Replies,
        enhanced: EnhancedAuth,
        limits: Limits,
        counters: BrokerCounters,
        log_limiter: LogLimiter,
    ) -> None:
        self._clients = clients
        self._replies = replies
        self._enhanced = enhanced
        self._limits = limits
        self._counters = counters
        self._log_limiter = log_limiter
        self._ending: set[Client] = set()  # with credentials that end

    def note_identity(self, client: Client) -> None:
        """Note when the credentials of a client end."""
        if client.identity is not None and client.identity.expires_at is not None:
            self._ending.add(client)

    def forget(self, client: Client) -> None:
        """Forget a connection that has ended."""
        self._ending.discard(client)

    def tick(self, now: float) -> None:
        """Close the connections whose deadline or keep-alive is over."""
        for client in tuple(self._clients):
            if client.deadline is not None:
                if now >= client.deadline:
                    self._time_out(client)
            elif _is_silent(client, now):
                self._counters.refuse("keep_alive_timeout")  # [MQTT-3.1.2-22]
                text = f"silent for more than {client.keep_alive_s:g} s"
                self._replies.end(client, Reason.KEEP_ALIVE_TIMEOUT, text)

    def end_expired(self, wall: float) -> None:
        """Close the connections whose credentials have ended by the wall clock."""
        for client in tuple(self._ending):
            identity = client.identity
            if identity is None or identity.expires_at is None or client.state is CLOSED:
                self._ending.discard(client)
            elif identity.expires_at <= wall:
                self._counters.refuse("credentials_ended")
                logger.info("closing %r: the credentials of %s ended", client.label, client.name)
                self._replies.end(client, Reason.MAXIMUM_CONNECT_TIME)

    def _time_out(self, client: Client) -> None:
        if client.state is ONLINE:
            self._enhanced.time_out(client)
            return
        if client.state is not CLOSED:
            self._counters.refuse("connect_timeout")
            if self._log_limiter.may_log(client.peer, "connect_timeout"):
                seconds = self._limits.connect_timeout_s
                where = (client.origin, client.listener)
                logger.info("refused %s on %s: no CONNECT within %g s", *where, seconds)
        client.link.abort()


def _is_silent(client: Client, now: float) -> bool:
    if not client.keep_alive_s or client.held:  # a held client is not read
        return False
    return now - client.last_heard > client.keep_alive_s  # [MQTT-3.1.2-22] [MQTT-3.2.2-22]
