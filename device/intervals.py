"""Checks the intervals of sensors. Pure; loaded when one is declared."""

from micropython import const

_SHORTEST_MS = const(10)
_LONGEST_S = const(31622400)  # a year


def interval_ms(seconds):
    """Return an interval in milliseconds; ValueError when it is none."""
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not _SHORTEST_MS / 1000 <= seconds <= _LONGEST_S:
        raise ValueError("cannot read every %r s: 0.01 to %d s" % (seconds, _LONGEST_S))
    return int(seconds * 1000)
