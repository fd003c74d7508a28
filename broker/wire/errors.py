"""Defines the errors of the broker.

BrokerError                    cannot listen, cannot start
└─ ProtocolError               carries the MQTT 5 reason code
   ├─ RemoteProtocolError      a peer broke the protocol: answer, close, count, go on
   └─ LocalProtocolError       the calling code did: a bug, let it rise
"""

from broker.wire.reasons import Reason


class BrokerError(Exception):
    """Base of this package's errors; messages read "cannot X: why"."""


class ProtocolError(BrokerError):
    """A violation of MQTT; reason is the code for a DISCONNECT."""

    def __init__(self, message: str, reason: Reason = Reason.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.reason = reason


class RemoteProtocolError(ProtocolError):
    """A violation by a peer."""


class LocalProtocolError(ProtocolError):
    """A violation by the calling code."""
