"""Holds the limits and counters of handlers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HandlerLimits:
    """The time that a handler may take, and the memory that its process may use."""

    handler_s: float
    memory_mib: int


@dataclass(slots=True)
class ServiceCounters:
    """Counts since the start of the process."""

    handled: int = 0
    failed: int = 0
    dropped: int = 0
