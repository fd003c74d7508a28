"""Converts a board's clock to Unix time. Pure."""

_SECONDS_1970_TO_2000 = 946684800
_FIRST_BELIEVABLE = 1735689600  # 2025-01-01: an earlier time is a clock that was never set


def unix_seconds(seconds, epoch_year):
    """Return unix seconds from time.time(), or None while the clock has not been set.

    MicroPython counts from 2000 on most boards and from 1970 on the unix port.
    """
    unix = int(seconds) + (_SECONDS_1970_TO_2000 if epoch_year == 2000 else 0)
    return unix if unix >= _FIRST_BELIEVABLE else None
