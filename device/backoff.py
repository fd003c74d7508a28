"""Decides the pause before the next attempt. Pure.

An attempt that nobody took (no network, no answer, a refused TCP connection) costs the gateway
almost nothing, so its pauses stay below a cap of a few seconds, and a gateway that comes back is
found soon. A connection that the gateway took and that ended at once, a refused login or a busy
gateway costs it a TLS handshake and more: those pauses double up to a cap of a minute.

Many devices lose one gateway at the same instant; the random half of each pause spreads their
return. The first class counts from the start of the attempt, because one without an answer takes
seconds itself; the second from its end.
"""

from micropython import const

STEADY_MS = 10000  # a link that held this long was a good one: start from the first delay again
_OUTAGE = const(3)  # attempts in a row that nobody took: the costly ones before are forgotten
_CHEAP = const(0)  # places in counts
_COSTLY = const(1)


def delay_ms(attempt, first_ms, cap_ms, chance):
    """Return the delay of attempt 1, 2, …: doubled each time up to the cap, half of it random."""
    full = min(cap_ms, first_ms << min(attempt - 1, 16))
    return full // 2 + int(full / 2 * chance)


def pause_ms(counts, is_costly, took_ms, up_ms, config, chance):
    """Count a failed attempt in counts, and return the pause until the next one.

    counts is [cheap ones in a row, costly ones since a steady link]; a link was up for up_ms, 0 for
    none.
    """
    first_ms, cap_ms = int(config.retry_first_s * 1000), int(config.retry_cap_s * 1000)
    if up_ms >= STEADY_MS:
        counts[_CHEAP], counts[_COSTLY] = 1, 0
        return delay_ms(1, first_ms, cap_ms, chance)
    if is_costly or up_ms:
        counts[_CHEAP] = 0
        counts[_COSTLY] += 1
        cap_ms = max(cap_ms, int(config.refused_cap_s * 1000))
        return delay_ms(counts[_COSTLY], first_ms, cap_ms, chance)
    counts[_CHEAP] += 1
    if counts[_CHEAP] >= _OUTAGE:
        counts[_COSTLY] = 0
    delay = delay_ms(counts[_CHEAP], first_ms, cap_ms, chance)
    return max(delay - max(0, took_ms), delay_ms(1, first_ms, cap_ms, chance))
