"""Counts a service's work."""

from dataclasses import dataclass


@dataclass(slots=True)
class ServiceCounters:
    """Counts since the start of the process."""

    handled: int = 0
    failed: int = 0
    dropped: int = 0
