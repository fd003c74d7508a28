"""Defines the limits and time-outs of the serving end."""

from dataclasses import dataclass

from protocol.preface import PING_INTERVAL_S


@dataclass(frozen=True, slots=True)
class TunnelLimits:
    """Bounds of one gateway's BEPs."""

    beps: int = 32
    ready: int = 2  # data connections that wait for a visitor in advance
    streams: int = 128  # data connections of one BEP, those that wait included
    pipes: int = 32  # of 1 MiB, shared by all streams

    dial_s: float = 10.0
    local_s: float = 5.0  # for the local server to accept
    silence_s: float = 3 * PING_INTERVAL_S
    stream_idle_s: float = 300.0
    reopen_s: float = 1.0  # pause after a data connection that failed or brought no visitor
    retry_first_s: float = 0.5
    retry_cap_s: float = 30.0
