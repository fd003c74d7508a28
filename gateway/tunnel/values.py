"""What the owner of a tunnel gives and gets."""

from dataclasses import dataclass

from gateway.tunnel.state import TunnelPhase
from protocol.secret import Secret


@dataclass(frozen=True, slots=True)
class BepGrant:
    """What mSS gave: where to serve, and the right to."""

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
