"""Defines the status of a BEP, as the tunnel reports it."""

from dataclasses import dataclass

from gateway.tunnel.state import TunnelPhase


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
