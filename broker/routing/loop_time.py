"""Keeps the time of the event loop at which the current event was read.

One reading per event is exact enough for keep-alive and expiry, which count in seconds.
"""


class LoopTime:
    """Holds the time of the current event; only the core advances it."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0

    def advance(self, now: float) -> None:
        """Set the time."""
        self.now = now
