"""Computes the delays between attempts. Pure."""

STEADY_MS = 10000  # a link that held this long was a good one: start from the first delay again


def delay_ms(attempt, first_ms, cap_ms, random):
    """Return the pause before attempt 1, 2, …: doubled each time up to the cap, half of it random.

    Many devices lose one gateway at the same instant; the random half spreads their return.
    """
    full = min(cap_ms, first_ms << min(attempt - 1, 16))
    return full // 2 + int(full / 2 * random)


def next_attempt(attempt, up_ms):
    """Return the number of the coming attempt, after a link that was up for so long."""
    return 1 if up_ms >= STEADY_MS else attempt + 1
