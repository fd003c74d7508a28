"""Sends packets to clients and closes their connections."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.quota.log_limiter import COMINGS_AND_GOINGS
from broker.sessions.client import Client, ConnectionState
from broker.sessions.outbound import encode_fitting
from broker.wire.packets import Disconnect, Packet
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason, describe

if TYPE_CHECKING:
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.quota.log_limiter import LogLimiter
    from broker.routing.hooks import Hooks
    from broker.routing.loop_time import LoopTime
    from broker.routing.session_registry import SessionRegistry
    from broker.sessions.outbound import Outbound

logger = logging.getLogger(__name__)


class Replies:
    """Appends the broker's answers to the output of clients."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        registry: SessionRegistry,
        hooks: Hooks,
        limits: Limits,
        counters: BrokerCounters,
        log_limiter: LogLimiter,
        touched: dict[Outbound, None],
        time: LoopTime,
    ) -> None:
        self._registry = registry
        self._hooks = hooks
        self._limits = limits
        self._counters = counters
        self._log_limiter = log_limiter
        self._touched = touched
        self._time = time

    def send(self, client: Client, packet: Packet) -> None:
        """Append a packet to the output of a client."""
        encoded = encode_fitting(packet, client)  # [MQTT-3.1.2-24]
        self._touched[client] = None
        if encoded is not None:
            client.out.append(encoded)  # [MQTT-3.3.4-10] [MQTT-4.9.0-3]
            self._counters.send_control(1, len(encoded))
        elif not isinstance(packet, Disconnect):  # a DISCONNECT that does not fit is left out
            self._counters.refuse("answer_too_large")
            text = f"{type(packet).__name__} exceeds its Maximum Packet Size"
            self.end(client, Reason.PACKET_TOO_LARGE, text)

    def end(self, client: Client, reason: Reason, text: str = "", *, will: bool = True) -> None:
        """Send a DISCONNECT (MQTT 5) and close."""
        if client.state is ConnectionState.CLOSED:
            return
        if client.state is ConnectionState.ONLINE and client.five:  # [MQTT-3.14.0-1]
            has_text = bool(text) and client.wants_reasons
            properties = Properties(reason_string=text) if has_text else NO_PROPERTIES
            self.send(client, Disconnect(reason, properties))  # [MQTT-3.14.2-1] [MQTT-3.14.2-2]
        self.close(client, reason, text, will=will)

    def close(
        self, client: Client, reason: Reason | None = None, text: str = "", *, will: bool
    ) -> None:
        """Detach the session; the socket closes once all output is sent."""
        was_online = client.state is ConnectionState.ONLINE
        # [MQTT-3.14.4-1] [MQTT-4.13.2-1]
        client.close(self._time.now + self._limits.close_timeout_s)
        self._touched[client] = None
        self._registry.detach(client, self._time.now, with_will=will)
        if was_online:
            self._note_disconnect(client, reason, text)

    def _note_disconnect(self, client: Client, reason: Reason | None, text: str) -> None:
        identity = client.identity
        assert identity is not None  # it was online
        if self._log_limiter.may_log(identity.client_id, "disconnected", COMINGS_AND_GOINGS):
            why = "the connection broke" if reason is None else describe(reason)
            ending = f": {text}" if text else ""
            logger.info("%r disconnected: %s%s", identity.client_id, why, ending)
        self._hooks.notify_disconnect(identity, reason)
