"""Handles CONNECT: checks it, asks the authenticator, opens the session, sends the CONNACK."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.messages.topics import (
    CONTROL,
    refuse_control_characters,
    validate_response_topic,
    validate_topic,
)
from broker.policy import Credentials, Identity, Refusal
from broker.routing.hooks import ConnectingClient
from broker.routing.wills import hold_will
from broker.sessions.authentication import Authentication
from broker.sessions.client import DECIDING, Client, as_client
from broker.sessions.outbound import encode_fitting
from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import MQTT_3_1, ConnAck, Connect
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason, connect_return_code, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.quota.log_limiter import LogLimiter
    from broker.routing.hooks import Hooks
    from broker.routing.session_registry import SessionRegistry
    from broker.sessions.outbound import Outbound
    from broker.sessions.persistence import Persistence, SessionPersistence
    from broker.sessions.session import Session

logger = logging.getLogger(__name__)

ASSIGNED_ID_BYTES = 12  # 96 random bits: no two are equal by chance
KEEP_ALIVE_GRACE = 1.5  # [MQTT-3.1.2-22]
MAX_KEEP_ALIVE_S = 65_535  # the maximum of MQTT


@dataclass(frozen=True, slots=True)
class _Opened:
    """A client whose session is being stored; called with the result."""

    connect_handler: ConnectHandler
    client: Client
    session: Session
    now: float
    go_on: Callable[[], None]
    is_new: bool

    def __call__(self, ok: bool) -> None:
        self.connect_handler.opened(self, ok=ok)


class ConnectHandler:
    """Admits or refuses clients."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        registry: SessionRegistry,
        hooks: Hooks,
        persistence: Persistence,
        limits: Limits,
        counters: BrokerCounters,
        log_limiter: LogLimiter,
        touched: dict[Outbound, None],
    ) -> None:
        self._registry = registry
        self._hooks = hooks
        self._persistence = persistence
        self._limits = limits
        self._counters = counters
        self._log_limiter = log_limiter
        self._touched = touched

    def handle_connect(self, client: Client, connect: Connect, now: float) -> None:
        """Check a CONNECT and ask the authenticator; the client is held until it answers."""
        self._counters.connects_received += 1
        client.read_connect(connect)
        self._check_will(connect)
        client_id = connect.client_id  # [MQTT-3.1.3-5]
        username = connect.username or ""
        longest = max(len(client_id.encode()), len(username.encode()))
        is_too_long = longest > self._limits.client_id_bytes
        refuse_control_characters(username)
        if is_too_long or CONTROL.search(client_id):  # text that this broker refuses
            self.refuse(client, Reason.CLIENT_ID_NOT_VALID, now)  # [MQTT-3.1.3-9] of 3.1.1
            return
        if not client_id:
            # [MQTT-3.1.3-7] [MQTT-3.1.3-8] of 3.1.1; 3.1 wants one always. Its bound of 23
            # characters is not kept: 3.1.1 lifted it, and clients of 3.1 have longer ones
            if client.version == MQTT_3_1 or not (client.five or connect.clean_start):
                self.refuse(client, Reason.CLIENT_ID_NOT_VALID, now)
                return
            client_id = f"auto-{secrets.token_hex(ASSIGNED_ID_BYTES)}"  # [MQTT-3.1.3-6]
        # [MQTT-3.1.3-7] [MQTT-3.2.2-16]
        client.wait_for_decision(connect, is_id_assigned=not connect.client_id)
        self._touched[client] = None
        credentials = Credentials(
            client_id, connect.username, connect.password, client.listener, client.peer
        )
        method = connect.properties.authentication_method
        if method is None:
            client.link.authenticate(credentials)
        else:
            client.begin_authentication(Authentication(method, credentials))
            client.link.begin(method, credentials, connect.properties.authentication_data)

    def decide(
        self,
        client: Client,
        outcome: Identity | Refusal,
        now: float,
        take_over: Callable[[Client], None],
        enter: Callable[[Client], None],
    ) -> None:
        """Apply the authenticator's answer; enter() is called once the client is online."""
        connect = client.connect
        if connect is None or client.state is not DECIDING:  # [MQTT-3.2.0-2]
            return  # it has disconnected meanwhile
        client.release()
        if isinstance(outcome, Refusal):
            self.refuse(client, Reason(outcome), now)  # [MQTT-3.1.4-2] [MQTT-3.2.2-8]
            return
        session = self._registry.get(outcome.client_id)  # [MQTT-3.1.3-2]
        refusal = self._find_refusal(client, connect, outcome, session, now)
        if refusal is not None:
            self.refuse(client, Reason(refusal), now)
            return
        old = session.recorder if session is not None else None
        if session is not None:
            before = as_client(session.opening)
            if before is not None and before.state is DECIDING:  # it was never online
                before.release()
                self.refuse(before, Reason.SERVER_BUSY, now)
            other = as_client(session.client)
            if other is not None:
                take_over(other)  # [MQTT-3.1.4-3]
        found, present = self._registry.open(connect, outcome, now)

        def go_on() -> None:
            self._registry.attach(client, found, connect)  # [MQTT-3.1.4-4]
            if self._admit(client, connect, present=present):
                enter(client)
                return
            logger.info(
                "refused %r: the CONNACK exceeds its Maximum Packet Size", outcome.client_id
            )
            self._counters.refuse("connect_packet_too_large")
            self._registry.detach(client, now, with_will=False)
            self._hooks.notify_disconnect(outcome, Reason.PACKET_TOO_LARGE)
            self._close(client, now)

        if found.recorder is None and old is None and found.will_recorder is None:
            go_on()
        else:
            self._store(_Opened(self, client, found, now, go_on, is_new=not present), old)

    def _store(self, waiting: _Opened, old: SessionPersistence | None) -> None:
        """Hold a client until its session is stored, or the old one is removed."""
        client, session = waiting.client, waiting.session
        assert client.connect is not None  # it comes
        will = client.connect.will
        held = hold_will(will, session.owner) if will is not None else None
        client.hold()
        session.set_opening(client)
        if session.recorder is not None:
            must = not waiting.is_new
            session.recorder.opened(
                session.owner, client.version, session.expiry_s, waiting, must=must, will=held
            )
        elif session.will_recorder is not None:

            def done(ok: bool) -> None:
                if session.opening is not client:  # a later client decides about the session
                    return
                # without room the will is lost if the broker stops: better than refusing the client
                if not ok:
                    session.set_will_recorder(None)
                    self._counters.refuse("will_not_stored")
                if old is not None:
                    old.ended(waiting)
                else:
                    waiting(ok=True)

            session.will_recorder.opened(
                session.owner, client.version, 0.0, done, must=False, will=held
            )
        elif old is not None:  # it must not come back
            old.ended(waiting)

    def _find_refusal(
        self,
        client: Client,
        connect: Connect,
        identity: Identity,
        session: Session | None,
        now: float,
    ) -> Refusal | None:
        if session is not None and session.owner.name != identity.name:
            # one identity must not take another's session, or its place
            return Refusal.CLIENT_ID_NOT_VALID
        is_kept = self._registry.expiry_s(connect, identity) > 0
        if session is None and is_kept and self._registry.is_full_for(identity.name, now):
            return Refusal.QUOTA_EXCEEDED
        hooks = self._hooks
        if not hooks.has_connect_hooks:
            return None
        return hooks.refuse_connect(
            ConnectingClient(
                identity, client.listener, client.peer, client.version, connect.clean_start
            )
        )

    def opened(self, waiting: _Opened, *, ok: bool) -> None:
        """Note that the session of a client is stored, or cannot be."""
        client, session, now = waiting.client, waiting.session, waiting.now
        if session.opening is not client:  # a newer client opens the session
            return
        session.set_opening(None)
        is_there = self._registry.get(session.client_id) is session
        if ok and is_there and client.state is DECIDING:
            client.release()
            waiting.go_on()
            self._persistence.touch(client)
            return
        if is_there:
            if session.expiry_s > 0 and (ok or not waiting.is_new):
                self._registry.leave(session, now)
            else:
                self._registry.end(session, now)
        if client.state is DECIDING:
            client.release()
            self.refuse(client, Reason.SERVER_BUSY if ok else Reason.QUOTA_EXCEEDED, now)
            self._persistence.touch(client)

    def refuse(self, client: Client, reason: Reason, now: float, text: str = "") -> None:
        """Send a CONNACK that refuses, and close."""
        kind = f"connect_{reason.name.lower()}"
        self._counters.refuse(kind)
        if self._log_limiter.may_log(client.peer, kind):
            where, why = (client.origin, client.listener), describe(reason)
            logger.info("refused %s from %s on %s: %s", _name(client.connect), *where, why)
        code = reason if client.five else connect_return_code(reason)
        properties = Properties(reason_string=text) if text else NO_PROPERTIES
        self._send(client, ConnAck(code, properties=properties))  # [MQTT-3.2.2-6] no session
        self._close(client, now)  # [MQTT-3.1.3-8] [MQTT-3.2.2-7] [MQTT-4.13.2-1]

    def _close(self, client: Client, now: float) -> None:
        client.close(now + self._limits.close_timeout_s)  # [MQTT-3.1.4-6]

    def _check_will(self, connect: Connect) -> None:
        will = connect.will
        if will is None:
            return
        validate_topic(will.topic)
        validate_response_topic(will.properties.response_topic)
        limits = self._limits
        if (
            will.topic.count("/") >= limits.topic_levels
            or len(will.topic.encode()) > limits.topic_bytes
        ):
            raise RemoteProtocolError(
                "will topic is too deep or too long", Reason.TOPIC_NAME_INVALID
            )

    def _admit(self, client: Client, connect: Connect, *, present: bool) -> bool:
        limits, session = self._limits, client.session
        assert session is not None  # just attached
        keep_alive_s = self._choose_keep_alive(client, connect.keep_alive_s)
        aliases = min(connect.properties.topic_alias_maximum or 0, limits.topic_aliases)
        client.admit(keep_alive_s * KEEP_ALIVE_GRACE, limits.packet_bytes, aliases)
        if not client.five:
            is_present = present and client.version != MQTT_3_1  # 3.1 keeps that byte reserved
            return self._send(client, ConnAck(0, is_present))  # [MQTT-3.1.4-5]
        asked_s = connect.properties.session_expiry_s or 0
        properties = Properties(
            session_expiry_s=int(session.expiry_s) if session.expiry_s != asked_s else None,
            receive_maximum=limits.holds,
            maximum_packet_bytes=limits.packet_bytes,
            topic_alias_maximum=limits.topic_aliases or None,
            assigned_client_id=session.client_id if client.client_id_assigned else None,
            # [MQTT-3.2.2-21] [MQTT-3.2.2-22]
            server_keep_alive_s=keep_alive_s if keep_alive_s != connect.keep_alive_s else None,
        )
        if client.authentication is not None:
            properties = client.authentication.complete(properties)
        return self._send(client, ConnAck(Reason.SUCCESS, present, properties))  # [MQTT-3.1.4-5]

    def _choose_keep_alive(self, client: Client, asked_s: int) -> int:
        limit_s = self._limits.keep_alive_s
        if limit_s >= MAX_KEEP_ALIVE_S or not client.five or 0 < asked_s <= limit_s:
            return asked_s  # 3.1.1 has no Server Keep Alive
        return limit_s

    def _send(self, client: Client, packet: ConnAck) -> bool:
        encoded = encode_fitting(packet, client)  # [MQTT-3.1.2-24]
        if encoded is not None:
            client.out.append(encoded)
            self._counters.send_control(1, len(encoded))
        self._touched[client] = None
        return encoded is not None


def _name(connect: Connect | None) -> str:
    """Return the name of a client that is not online, for a log line."""
    if connect is None:
        return "a client"
    name = repr(connect.client_id[:64]) if connect.client_id else "a client"
    user = f"as {connect.username[:64]!r}" if connect.username else "without a user"
    return f"{name} {user}"
