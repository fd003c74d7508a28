"""Bounds how fast the frames of one peer are read. Pure.

A peer that sends more is read more slowly: what it sends waits in its own connection (TCP), and
others do not notice.
"""


class FramePace:
    """A token bucket; `now` is the monotonic clock in seconds."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, burst
        self._left, self._seen_at = float(burst), float("-inf")
        self.slowed = 0  # frames that had to wait

    def delay_s(self, now: float) -> float:
        """Count one frame; return the pause before the next is read."""
        gained = max(0.0, now - self._seen_at) * self._per_s
        self._left = min(float(self._burst), self._left + gained) - 1
        self._seen_at = now
        if self._left >= 0:
            return 0.0
        self.slowed += 1
        return -self._left / self._per_s
