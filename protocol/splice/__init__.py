"""Joins pairs of sockets, in the kernel where possible; both ends of a BEP use it. Does I/O."""

from protocol.splice.pair import SplicedPair
from protocol.splice.sockets import CoupledSocket, cut, is_unanswered, tune
from protocol.splice.splicer import SpliceLimits, Splicer
from protocol.splice.tls import accept_tls, connect_tls, couple

__all__ = [
    "CoupledSocket",
    "SpliceLimits",
    "SplicedPair",
    "Splicer",
    "accept_tls",
    "connect_tls",
    "couple",
    "cut",
    "is_unanswered",
    "tune",
]
