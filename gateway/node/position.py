"""Holds where this node is, and decides when the cloud has to know. Pure.

A GPS receiver tells every second. The cloud is told once a minute, and only when the node has
moved: each time is a registration that it writes to its disk.
"""

from protocol.geo.position import Position

MOVED_M = 25.0  # less is the noise of a receiver
REPORT_S = 60.0


class NodePosition:
    """The configured position, until a GPS receiver tells another; `now` is monotonic seconds."""

    def __init__(self, configured: Position | None = None) -> None:
        self.current = configured
        self._reported = configured  # with the first registration
        self._report_not_before = float("-inf")

    def move(self, position: Position, now: float) -> float | None:
        """Note a position; return when to report it, None when nothing is to be reported."""
        self.current = position
        reported = self._reported
        if reported is not None and reported.distance_m(position) < MOVED_M:
            return None
        return max(now, self._report_not_before)

    def note_reported(self, now: float) -> None:
        """Note that the cloud has been told of the current position."""
        self._reported = self.current
        self._report_not_before = now + REPORT_S
