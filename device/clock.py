"""Tells Unix time: what the gateway has told, else the board's clock if it was ever set. Pure."""

from micropython import const

_SECONDS_1970_TO_2000 = const(946684800)
_FIRST_BELIEVABLE = const(1735689600)  # 2025-01-01: an earlier time is a clock that was never set


def unix_seconds(seconds, epoch_year):
    """Return unix seconds from time.time(), or None while the clock has not been set.

    MicroPython counts from 2000 on most boards and from 1970 on the unix port.
    """
    unix = int(seconds) + (_SECONDS_1970_TO_2000 if epoch_year == 2000 else 0)
    return unix if unix >= _FIRST_BELIEVABLE else None


class DeviceClock:
    """Counts from the last time that the gateway told.

    The counter of milliseconds wraps after some days on a board (ticks_diff is right for half of
    that), so uptime_s() must be called at least once a day; the link does.
    """

    def __init__(self, board, ticks_ms, ticks_diff):
        self._board = board
        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._last = ticks_ms()
        self._uptime_ms = 0
        self._base = None  # unix seconds when uptime was 0
        self._told = 0

    def uptime_s(self):
        """Return the seconds since the start."""
        now = self._ticks_ms()
        self._uptime_ms += self._ticks_diff(now, self._last)
        self._last = now
        return self._uptime_ms // 1000

    def now(self):
        """Return unix seconds, or None while nobody has told."""
        uptime = self.uptime_s()
        return self._board.now() if self._base is None else self._base + uptime

    def set(self, unix):
        """Take the time of the gateway; a time before 2025 is not one."""
        if unix < _FIRST_BELIEVABLE or unix >= 1 << 32:
            return
        self._told = self.uptime_s()
        self._base = unix - self._told
        self._board.set_time(unix)

    def is_old(self, seconds):
        """Return whether the gateway's last time is older than that."""
        return self._base is None or self.uptime_s() - self._told >= seconds
