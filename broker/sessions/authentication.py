"""Keeps the state of one connection's enhanced authentication (MQTT 5, section 4.12)."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import Auth
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from broker.policy import Credentials

PAUSE_S = 1.0  # between two re-authentications: the cost of one depends on the method


class AuthState(Enum):
    """The side that must send the next message."""

    CLIENT = "client"
    METHOD = "method"
    IDLE = "idle"


class Authentication:
    """Tracks the method of one connection and the state of its exchange."""

    __slots__ = ("_next_at", "_state", "credentials", "last_data", "method")

    def __init__(self, method: str, credentials: Credentials) -> None:
        self.method = method
        self.credentials = credentials  # of the CONNECT
        self.last_data: bytes | None = None  # for the CONNACK
        self._state = AuthState.METHOD
        self._next_at = 0.0

    def take(self, packet: Auth, now: float) -> bool:
        """Check an AUTH; return whether it begins a re-authentication; raise for a wrong one."""
        # [MQTT-4.12.0-5] [MQTT-4.12.1-1]
        if packet.properties.authentication_method != self.method:
            raise RemoteProtocolError("AUTH of another method")
        begins = packet.reason == Reason.RE_AUTHENTICATE and self._state is AuthState.IDLE
        goes_on = (
            packet.reason == Reason.CONTINUE_AUTHENTICATION and self._state is AuthState.CLIENT
        )
        if not begins and not goes_on:  # [MQTT-4.12.0-3]
            raise RemoteProtocolError("AUTH out of turn")
        if begins and now < self._next_at:
            raise RemoteProtocolError("re-authentication too soon", Reason.QUOTA_EXCEEDED)
        if begins:
            self._next_at = now + PAUSE_S
        self._state = AuthState.METHOD
        return begins

    def challenge(self, data: bytes | None) -> Auth:
        """Return the AUTH that the client has to answer."""
        self._state = AuthState.CLIENT
        return self._packet(Reason.CONTINUE_AUTHENTICATION, data)  # [MQTT-4.12.0-2]

    def finish(self, data: bytes | None) -> Auth:
        """End an exchange; return the AUTH that ends a re-authentication."""
        self._state = AuthState.IDLE
        self.last_data = data
        return self._packet(Reason.SUCCESS, data)  # [MQTT-3.15.2-1]

    def complete(self, properties: Properties) -> Properties:
        """Return the properties of the CONNACK that ends the first exchange."""  # [MQTT-4.12.0-5]
        return replace(
            properties, authentication_method=self.method, authentication_data=self.last_data
        )

    def _packet(self, reason: Reason, data: bytes | None) -> Auth:
        return Auth(reason, Properties(authentication_method=self.method, authentication_data=data))
