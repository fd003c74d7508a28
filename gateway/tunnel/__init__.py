"""Serves BEPs: visitors of a relay reach a local HTTP server."""

from gateway.tunnel.errors import TunnelError
from gateway.tunnel.host import TunnelHost
from gateway.tunnel.limits import TunnelLimits
from gateway.tunnel.state import TunnelPhase
from gateway.tunnel.values import BepStatus

__all__ = ["BepStatus", "TunnelError", "TunnelHost", "TunnelLimits", "TunnelPhase"]
