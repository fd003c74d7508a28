"""Holds the limits of a handler's call."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HandlerLimits:
    """How long a handler may take, and the memory its process may have."""

    handler_s: float
    memory_mib: int
