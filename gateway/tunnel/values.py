"""Defines the values that a tunnel's owner passes and receives."""

from dataclasses import dataclass

from gateway.tunnel.state import TunnelPhase
from settings.secret import Secret


@dataclass(frozen=True, slots=True)
class BepGrant:
    """The grant of mSS: the relay and the token to serve there."""

    bep_id: str
    url: str
    host: str
    port: int
    token: Secret
    expires_at: float  # unix seconds
    tls: bool = False  # the relay is reached over TLS


@dataclass(frozen=True, slots=True)
class BepStatus:
    """One BEP as it is now."""

    bep_id: str
    url: str
    label: str
    expires_at: float
    visitors: int  # now
    visitors_total: int
    bytes_total: int  # both ways
    state: TunnelPhase
