"""Computes the delays between attempts. Pure."""

import random
from collections.abc import Iterator


def delays(first_s: float, cap_s: float, rng: random.Random) -> Iterator[float]:
    """Yield the pauses before further attempts without end: they double up to cap_s.

    Half of each pause is random, so that gateways that lost the same peer do not return at once.
    """
    limit_s = min(first_s, cap_s)
    while True:
        yield limit_s * rng.uniform(0.5, 1.0)
        limit_s = min(limit_s * 2, cap_s)
