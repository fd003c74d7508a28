"""Defines the limits of a relay."""

from dataclasses import dataclass

from protocol.preface import PING_INTERVAL_S


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds of one relay; at a bound newcomers are refused and others are not disturbed."""

    beps: int = 1000
    ready: int = 16  # waiting data connections of one BEP
    waiting: int = 64  # visitors of one BEP that wait for a data connection
    streams: int = 256  # joined visitors of one BEP, those waiting included
    unidentified: int = 1024  # connections whose first bytes have not come yet
    rejections: int = 256  # refused visitors that still read their answer
    revocations: int = 100_000

    identify_s: float = 10.0
    wait_s: float = 10.0  # a visitor for a data connection
    need_s: float = 2.0  # then a NEED that brought nothing is repeated
    grace_s: float = 30.0  # a BEP without control connection
    idle_s: float = 900.0  # a BEP without visitors
    stream_idle_s: float = 300.0
    ping_s: float = PING_INTERVAL_S
    pong_s: float = 10.0
    revoked_s: float = 86_400.0  # an unknown BEP stays revoked so long: above any token's life
    pipes: int = 32  # of 1 MiB, shared by all streams
