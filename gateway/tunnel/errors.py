"""Errors of the serving end.

GatewayError
└─ TunnelError      a BEP cannot be opened
   └─ RefusedError  the relay said no; status says why
"""

from gateway.errors import GatewayError
from protocol.preface import Status


class TunnelError(GatewayError):
    """A BEP cannot be opened; messages read "cannot X: why"."""


class RefusedError(TunnelError):
    """The relay answered a preface with something else than "accepted"."""

    def __init__(self, status: Status) -> None:
        super().__init__(f"cannot open BEP: relay refused, {_WHY[status]}")
        self.status = status


_WHY = {
    Status.ACCEPTED: "though it accepted",
    Status.BAD_TOKEN: "the token is forged, expired or not for it",
    Status.LIMIT: "it is full",
    Status.GONE: "the BEP has ended",
}
