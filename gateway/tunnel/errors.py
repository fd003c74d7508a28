"""Defines the errors of the serving end.

GatewayError
└─ TunnelError      a BEP cannot be opened
   └─ RefusedError  the relay refused; status has its reason
"""

from gateway.errors import GatewayError
from protocol.preface import PrefaceStatus


class TunnelError(GatewayError):
    """A BEP cannot be opened; messages read "cannot X: why"."""


class RefusedError(TunnelError):
    """The relay refused a preface."""

    def __init__(self, status: PrefaceStatus) -> None:
        super().__init__(f"cannot open BEP: relay refused, {_WHY[status]}")
        self.status = status


_WHY = {
    PrefaceStatus.ACCEPTED: "although it accepted",
    PrefaceStatus.BAD_TOKEN: "the token is forged, expired or not for it",
    PrefaceStatus.LIMIT: "it is full",
    PrefaceStatus.GONE: "the BEP has ended",
}
