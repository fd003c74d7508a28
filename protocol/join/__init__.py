"""Joins pairs of sockets, in the kernel where it can: both ends of a BEP use it. Does io."""

from protocol.join.joiner import Joiner, JoinLimits
from protocol.join.joint import Joint
from protocol.join.sockets import cut, tune

__all__ = ["JoinLimits", "Joiner", "Joint", "cut", "tune"]
