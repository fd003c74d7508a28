"""Bounds how fast the frames of one peer are read. Pure.

A peer that sends more is read more slowly: what it sends waits in its own connection (TCP), and
others do not notice.
"""

from gateway.limits.token_bucket import Rate, TokenBucket


class FramePace:
    """Counts the frames of one peer; `now` is the monotonic clock in seconds."""

    def __init__(self, rate: Rate) -> None:
        self._bucket = TokenBucket(rate)
        self.slowed = 0  # frames that had to wait

    def delay_s(self, now: float) -> float:
        """Count one frame; return the pause before the next is read."""
        delay_s = self._bucket.borrow(now)
        self.slowed += delay_s > 0
        return delay_s
