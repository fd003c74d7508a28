"""Computes the delays between attempts. Pure."""

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
