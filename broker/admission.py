"""From CONNECT to CONNACK: what is asked, who decides, what is answered."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from broker.client import UNLIMITED_BYTES, Client, State
from broker.errors import RemoteProtocolError
from broker.packets import MQTT_5, ConnAck, Connect
from broker.policy import Credentials, Identity, Refusal
from broker.properties import Properties
from broker.reasons import Reason, connect_return_code
from broker.topics import validate_topic
from broker.wire import encode_packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.counters import Counters
    from broker.limits import Limits
    from broker.registry import Registry
    from broker.router import Router

logger = logging.getLogger(__name__)

ASSIGNED_ID_BYTES = 12  # 96 random bits: nobody meets another's by chance
KEEP_ALIVE_GRACE = 1.5  # [MQTT-3.1.2-22]


class Admission:
    """Lets clients in, or not."""

    def __init__(
        self, router: Router, registry: Registry, limits: Limits, counters: Counters
    ) -> None:
        self._router = router
        self._registry = registry
        self._limits = limits
        self._counters = counters

    def ask(self, client: Client, connect: Connect, now: float) -> None:
        """Check a CONNECT and put it to the authenticator; the client is held until it answers."""
        client.speak(connect.version)
        if connect.properties.authentication_method is not None:
            raise RemoteProtocolError(
                "cannot authenticate: method not known", Reason.BAD_AUTHENTICATION_METHOD
            )
        self._check_will(connect)
        client_id = connect.client_id
        if not client_id:
            if not client.five and not connect.clean_start:  # [MQTT-3.1.3-8] of 3.1.1
                self.refuse(client, Reason.CLIENT_ID_NOT_VALID, now)
                return
            client_id = f"auto-{secrets.token_hex(ASSIGNED_ID_BYTES)}"  # [MQTT-3.1.3-6]
            client.client_id_assigned = True
        client.connect = connect
        client.state = State.DECIDING
        client.held = True
        self._router.touched.add(client)
        client.link.authenticate(
            Credentials(client_id, connect.username, connect.password, client.listener, client.peer)
        )

    def decide(
        self,
        client: Client,
        outcome: Identity | Refusal,
        now: float,
        take_over: Callable[[Client], None],
    ) -> bool:
        """Carry the authenticator's answer out; return whether the client is in."""
        connect = client.connect
        if connect is None or client.state is not State.DECIDING:
            return False  # it left meanwhile
        client.held = False
        if isinstance(outcome, Refusal):
            self.refuse(client, Reason(outcome), now)
            return False
        session = self._registry.get(outcome.client_id)
        if session is not None and session.owner.name != outcome.name:
            # one identity must not take another's session, or its place
            self.refuse(client, Reason.CLIENT_ID_NOT_VALID, now)
            return False
        if session is None and self._registry.expiry_s(connect) > 0 and self._registry.is_full:
            self.refuse(client, Reason.QUOTA_EXCEEDED, now)
            return False
        if session is not None and session.client is not None:
            take_over(session.client)  # [MQTT-3.1.4-3]
        present = self._registry.attach(client, connect, outcome, now)
        self._admit(client, connect, present=present)
        return True

    def refuse(self, client: Client, reason: Reason, now: float) -> None:
        """Answer with a CONNACK that says no, and close."""
        self._counters.refuse(f"connect_{reason.name.lower()}")
        logger.info("refused %s on %s: %s", client.peer or "a client", client.listener, reason.name)
        code = reason if client.five else connect_return_code(reason)
        self._send(client, ConnAck(code))  # [MQTT-3.2.2-6] session present is 0
        client.state = State.CLOSED
        client.connect = None
        client.parts.clear()
        client.deadline = now + self._limits.close_timeout_s

    def _check_will(self, connect: Connect) -> None:
        will = connect.will
        if will is None:
            return
        validate_topic(will.topic)
        if will.qos > 1 and connect.version == MQTT_5:  # [MQTT-3.2.2-12]
            raise RemoteProtocolError("cannot take a will at QoS 2", Reason.QOS_NOT_SUPPORTED)
        if will.topic.count("/") >= self._limits.topic_levels:
            raise RemoteProtocolError("will topic is too deep", Reason.TOPIC_NAME_INVALID)

    def _admit(self, client: Client, connect: Connect, *, present: bool) -> None:
        limits, session = self._limits, client.session
        assert session is not None  # just attached
        client.state = State.ONLINE
        client.connect = client.deadline = None
        client.will = connect.will
        client.limit_bytes = limits.packet_bytes
        client.keep_alive_s = connect.keep_alive_s * KEEP_ALIVE_GRACE
        client.max_packet_bytes = connect.properties.maximum_packet_bytes or UNLIMITED_BYTES
        if not client.five:
            self._send(client, ConnAck(0, present))  # [MQTT-3.2.2-2]
            return
        asked_s = connect.properties.session_expiry_s or 0
        properties = Properties(
            session_expiry_s=int(session.expiry_s) if session.expiry_s != asked_s else None,
            receive_maximum=limits.holds,
            maximum_qos=True,  # QoS 1 [MQTT-3.2.2-9]
            maximum_packet_bytes=limits.packet_bytes,
            topic_alias_maximum=0,
            assigned_client_id=session.client_id if client.client_id_assigned else None,
            shared_subscriptions_available=False,
        )
        self._send(client, ConnAck(Reason.SUCCESS, present, properties))

    def _send(self, client: Client, packet: ConnAck) -> None:
        client.out.append(encode_packet(packet, client.version))
        self._router.touched.add(client)
