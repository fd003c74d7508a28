"""Computes the delays between attempts, and bounds how many there are. Pure."""

import random
from collections.abc import Iterator


def delays(
    first_s: float, cap_s: float, rng: random.Random, *, least: float = 0.0
) -> Iterator[float]:
    """Yield the pauses before further attempts without end; each is random below a limit.

    The limit doubles up to cap_s. A thousand nodes that lose the same peer at the same moment
    come back evenly spread over it; a pause that is random in part brings them in waves
    ("full jitter", M. Brooker, Exponential Backoff And Jitter, 2015).

    Args:
        first_s: the limit of the first pause.
        cap_s: that of the last ones.
        rng: of this node alone.
        least: the part of the limit that a pause has at least. A caller with few attempts needs
            it, so that they do not all fall into the same short failure.
    """
    limit_s = min(first_s, cap_s)
    while True:
        yield limit_s * rng.uniform(least, 1.0)
        limit_s = min(limit_s * 2, cap_s)


class Allowance:
    """A token bucket: so many uses at once, then so many a second."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, float(burst)
        self._left, self._seen_at = float(burst), float("-inf")

    def take(self, now: float) -> bool:
        """Use it once; return False when nothing is left."""
        gained = max(0.0, now - self._seen_at) * self._per_s
        self._left, self._seen_at = min(self._burst, self._left + gained), now
        if self._left < 1:
            return False
        self._left -= 1
        return True
