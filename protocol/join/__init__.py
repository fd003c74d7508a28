"""Joins pairs of sockets, in the kernel where it can: both ends of a BEP use it. Does io."""

from protocol.join.joiner import Joiner, JoinLimits
from protocol.join.joint import Joint
from protocol.join.sockets import CoupledSocket, cut, tune
from protocol.join.tls import accept_tls, connect_tls

__all__ = [
    "CoupledSocket",
    "JoinLimits",
    "Joiner",
    "Joint",
    "accept_tls",
    "connect_tls",
    "cut",
    "tune",
]
