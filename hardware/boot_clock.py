"""Counts seconds since the start of the machine, also those that it slept.

time.monotonic() stands still while Linux or macOS is suspended. A node that woke would take what it
heard hours ago for news: it would go on as supernode, and use tokens that have ended. Whatever
decides about a peer, a role or a right counts by this clock. Timers of asyncio count by
time.monotonic(): a wait that a suspend interrupts goes on afterwards, so such waits are short, or
end by an event.
"""

import sys
import time


def boot_time() -> float:
    """Return the seconds."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def _find_clock() -> int | None:
    """Return the clock of the system that counts sleep; None where time.monotonic() does."""
    if sys.platform == "darwin":
        return time.CLOCK_MONOTONIC  # time.monotonic() is mach_absolute_time() there
    return getattr(time, "CLOCK_BOOTTIME", None)


_CLOCK = _find_clock()
