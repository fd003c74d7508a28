"""Errors of the broker.

BrokerError                    cannot listen, cannot start
└─ ProtocolError               carries the MQTT 5 reason code
   ├─ RemoteProtocolError      a peer misbehaved: answer, close, count, go on
   └─ LocalProtocolError       our caller did: a bug, let it rise
"""

from broker.wire.reasons import Reason


class BrokerError(Exception):
    """Base of this package's errors; messages read "cannot X: why"."""


class ProtocolError(BrokerError):
    """MQTT does not allow this; reason is what a DISCONNECT would say."""

    def __init__(self, message: str, reason: Reason = Reason.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.reason = reason


class RemoteProtocolError(ProtocolError):
    """A peer sent what it must not send."""


class LocalProtocolError(ProtocolError):
    """Code on this side asked for what cannot be sent."""
