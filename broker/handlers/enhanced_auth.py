"""Handles enhanced authentication (MQTT 5, section 4.12): checks AUTH packets and applies results.

Theory of operation
-------------------
An exchange begins with a CONNECT that names a method, or later with a re-authentication; it ends
when the method has accepted or refused the client. In between, client and method alternate.

1. A client sends AUTH only when it is its turn, and only for the method of its CONNECT.
   [MQTT-4.12.0-5] [MQTT-4.12.1-1]
2. Without a method in the CONNECT there is no AUTH. [MQTT-4.12.0-6] [MQTT-4.12.0-7]
3. Before the CONNACK only AUTH and DISCONNECT are accepted (packets.py). [MQTT-3.1.2-30]
4. Every exchange has a deadline: the first has the client's time to connect, later ones have their
   own. Meanwhile the client keeps its old identity.
5. A client that re-authenticates stays the same user.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.policy import Accepted, Challenge, Identity, Refusal, Step
from broker.sessions.client import Client, ConnectionState
from broker.wire.errors import RemoteProtocolError
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.handlers.replies import Replies
    from broker.quota.counters import BrokerCounters
    from broker.sessions.authentication import Authentication
    from broker.wire.packets import Auth

logger = logging.getLogger(__name__)

DISCONNECT_REFUSALS = frozenset(
    {Refusal.NOT_AUTHORIZED, Refusal.SERVER_BUSY, Refusal.QUOTA_EXCEEDED}
)


class EnhancedAuth:
    """Passes AUTH packets to the methods, and sends their answers."""

    def __init__(
        self,
        replies: Replies,
        counters: BrokerCounters,
        timeout_s: float,
        renewed: Callable[[Client], None],
    ) -> None:
        self._replies = replies
        self._counters = counters
        self._timeout_s = timeout_s
        self._renewed = renewed

    def handle_auth(self, client: Client, packet: Auth, now: float) -> None:
        """Take a client's AUTH."""
        authentication = client.authentication
        if authentication is None:
            raise RemoteProtocolError("AUTH without a method")  # [MQTT-4.12.0-7]
        begins = authentication.take(packet, now)
        if client.state is ConnectionState.DECIDING:
            client.hold()
        if begins:
            client.set_deadline(now + self._timeout_s)
            client.link.begin(
                authentication.method,
                authentication.credentials,
                packet.properties.authentication_data,
            )
        else:
            client.link.proceed(packet.properties.authentication_data)

    def answer(self, client: Client, outcome: Step | Identity) -> Identity | Refusal | None:
        """Send the answer of a method; return the decision about the CONNECT, if any."""
        authentication = client.authentication
        if client.state is ConnectionState.CLOSED:
            return None
        if authentication is None:
            assert not isinstance(outcome, Challenge | Accepted)  # both need a method
            return outcome  # [MQTT-4.12.0-6]
        if isinstance(outcome, Identity):
            outcome = Accepted(outcome)
        if client.state is ConnectionState.DECIDING and isinstance(outcome, Accepted):
            authentication.finish(outcome.data)
            return outcome.identity
        if client.state is ConnectionState.DECIDING and isinstance(outcome, Refusal):
            return outcome  # [MQTT-4.12.0-4]
        self._go_on(client, authentication, outcome)
        return None

    def time_out(self, client: Client) -> None:
        """Close a connection whose re-authentication took too long."""
        logger.info("closing %r: re-authentication took too long", client.label)
        self._counters.refuse("reauthentication_timeout")
        self._replies.end(client, Reason.NOT_AUTHORIZED)

    def _go_on(self, client: Client, authentication: Authentication, outcome: Step) -> None:
        if isinstance(outcome, Challenge):
            if client.state is ConnectionState.DECIDING:
                client.release()
            self._replies.send(client, authentication.challenge(outcome.data))
        elif isinstance(outcome, Accepted):
            self._renew(client, outcome.identity, authentication.finish(outcome.data))
        else:
            self._fail(client, outcome)

    def _renew(self, client: Client, identity: Identity, success: Auth) -> None:
        session = client.session
        assert session is not None  # it is online
        if (identity.name, identity.client_id) != (client.name, session.client_id):
            logger.info("%r re-authenticated as another user", client.label)
            self._fail(client, Refusal.NOT_AUTHORIZED)
            return
        client.set_deadline(None)
        session.set_owner(identity)
        client.set_identity(identity)
        self._replies.send(client, success)
        self._renewed(client)

    def _fail(self, client: Client, refusal: Refusal) -> None:
        # [MQTT-4.12.1-2]; DISCONNECT lacks some reasons of CONNACK
        known = refusal in DISCONNECT_REFUSALS
        self._counters.refuse(f"reauthentication_{refusal.name.lower()}")
        logger.info("closing %r: cannot re-authenticate: %s", client.label, refusal.name)
        self._replies.end(client, Reason(refusal) if known else Reason.NOT_AUTHORIZED)
