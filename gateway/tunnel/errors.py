"""Errors of the serving end.

GatewayError
└─ TunnelError      a BEP cannot be opened
   └─ RefusedError  the relay said no; status says why
"""

from gateway.errors import GatewayError
from protocol.preface import PrefaceStatus


class TunnelError(GatewayError):
    """A BEP cannot be opened; messages read "cannot X: why"."""


class RefusedError(TunnelError):
    """The relay answered a preface with something else than "accepted"."""

    def __init__(self, status: PrefaceStatus) -> None:
        super().__init__(f"cannot open BEP: relay refused, {_WHY[status]}")
        self.status = status


_WHY = {
    PrefaceStatus.ACCEPTED: "though it accepted",
    PrefaceStatus.BAD_TOKEN: "the token is forged, expired or not for it",
    PrefaceStatus.LIMIT: "it is full",
    PrefaceStatus.GONE: "the BEP has ended",
}
