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
    retried: int = 0  # further calls of a handler for the same message
    dead: int = 0  # messages given to the gateway as dead letters
    overdue: int = 0  # handlers ended at their limit
