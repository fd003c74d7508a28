"""Computes the delays between attempts. Pure."""

import random
from collections.abc import Iterator


def delays(first_s: float, cap_s: float, rng: random.Random) -> Iterator[float]:
    """Yield the pauses before each further attempt, for ever: doubling up to cap_s.

    Half of each is random: gateways that lost the same peer at the same moment spread out.
    """
    limit_s = min(first_s, cap_s)
    while True:
        yield limit_s * rng.uniform(0.5, 1.0)
        limit_s = min(limit_s * 2, cap_s)
