"""Bounds how often something may happen: so often at once, then at a steady rate (token bucket).

Pure; `now` is a clock in seconds. A clock that goes back fills nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of tokens at once, and the seconds until the next one."""

    burst: int
    interval_s: float


class TokenBucket:
    """The tokens of one rate; full at the start."""

    __slots__ = ("_filled_at", "_rate", "_tokens")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._tokens, self._filled_at = float(rate.burst), float("inf")

    def take(self, now: float) -> bool:
        """Take a token; return False when there is none."""
        self._fill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def borrow(self, now: float) -> float:
        """Take a token even if there is none; return the seconds until it would be there."""
        self._fill(now)
        self._tokens -= 1
        return max(0.0, -self._tokens) * self._rate.interval_s

    def _fill(self, now: float) -> None:
        gained = max(0.0, now - self._filled_at) / self._rate.interval_s
        self._tokens = min(float(self._rate.burst), self._tokens + gained)
        self._filled_at = now
