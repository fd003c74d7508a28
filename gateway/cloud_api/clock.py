"""Measures how far this node's clock is from the cloud's, at the cloud's answers.

An answer's Date (RFC 9110, 6.6.1) has whole seconds, and servers make it once a second, so it says
that the difference lies in an interval as wide as the round trip and two seconds more. An interval
that holds zero is no difference. What the cloud and this node check of each other by time uses
now(): assertions, records, access tokens, SEP envelopes, BEPs. Over TLS nobody else can set it;
without TLS, whoever could change a Date could read the tokens beside it.

The node's clock may be set while the program runs (by NTP after a start without a battery). A
monotonic clock shows that, and the difference follows.
"""

from collections.abc import Callable
from email.utils import parsedate_to_datetime

DATE_S = 2.0  # by which a Date may be old
SET_S = 2.0  # by which two clocks of one machine differ only when one was set
ROUND_TRIP_LIMIT_S = 10.0  # an answer that took longer says too little


class CloudClock:
    """Reads the cloud's time off this node's clock."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._offset_s = 0.0
        self._measured_at = (clock(), monotonic())
        self.is_measured = False

    def now(self) -> float:
        """Return the cloud's time."""
        return self._clock() + self.offset_s

    @property
    def offset_s(self) -> float:
        """The cloud's time less this node's; 0 when they do not differ measurably."""
        wall, monotonic = self._measured_at
        was_set_s = (self._clock() - wall) - (self._monotonic() - monotonic)
        if not self.is_measured or abs(was_set_s) < SET_S:
            return self._offset_s
        return self._offset_s - was_set_s

    def measure(self, date: str, took_s: float) -> None:
        """Take the Date of an answer that has just come and how long it took."""
        if took_s > ROUND_TRIP_LIMIT_S:
            return
        try:
            dated = parsedate_to_datetime(date).timestamp()
        except (TypeError, ValueError, OverflowError):
            return
        now = self._clock()
        least, most = dated - now, dated + DATE_S - (now - took_s)
        self._offset_s = 0.0 if least <= 0 <= most else (least + most) / 2
        self._measured_at = (now, self._monotonic())
        self.is_measured = True

    def describe(self) -> str:
        """Return the difference in words; "" when there is none."""
        offset_s = round(self.offset_s)
        if not offset_s:
            return ""
        side = "behind" if offset_s > 0 else "ahead of"
        return f"clock {abs(offset_s)} s {side} the cloud's"
