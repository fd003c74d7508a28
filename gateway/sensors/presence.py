"""Learns how often a sensor sends, and decides when it is offline. Pure.

A scanner misses packets, so the longest of the recent gaps counts, several times. A trigger-based
sensor says nothing while nothing happens; its silence means nothing.
"""

from collections import deque

GAPS = 16
ENOUGH_GAPS = 3
FIRST_S = 1800.0  # while the interval is unknown
FACTOR = 4.0
LEAST_S, MOST_S = 180.0, 24 * 3600.0


class SensorPresence:
    """The times of one sensor's packets."""

    def __init__(self, now: float, *, is_online: bool = False) -> None:
        self._heard_at = now  # a start counts as a packet, so that the sensor has time to send one
        self._is_first = True
        self._gaps: deque[float] = deque(maxlen=GAPS)
        self.is_online = is_online

    def note(self, now: float) -> None:
        """Note a packet that counts."""
        if not self._is_first:
            self._gaps.append(now - self._heard_at)
        self._heard_at, self._is_first, self.is_online = now, False, True

    @property
    def deadline(self) -> float:
        """The time at which the sensor is offline unless it sends."""
        if len(self._gaps) < ENOUGH_GAPS:
            return self._heard_at + FIRST_S
        return self._heard_at + min(max(FACTOR * max(self._gaps), LEAST_S), MOST_S)

    def expire(self, now: float) -> bool:
        """Note that the sensor is offline if it is time; return whether it was noted now."""
        if not self.is_online or now < self.deadline:
            return False
        self.is_online = False
        return True

    def end(self) -> None:
        """Note that the sensor counts no more."""
        self.is_online = False
