"""Measures the difference between this node's clock and the cloud's from the cloud's answers.

Theory of operation
-------------------
The Date of an answer (RFC 9110, 6.6.1) has whole seconds, and servers update it once a second. It
therefore places the difference in an interval as wide as the round trip plus two seconds. If the
interval contains zero, the difference counts as zero. All times that the cloud and this node check
of each other use now(): assertions, records, access tokens, SEP envelopes, BEPs. Over TLS no third
party can change a Date; without TLS, a party that can change it can also read the tokens.

The system may set the node's clock while the program runs (NTP, after a start without a battery).
A monotonic clock detects that, and the difference follows.
"""

from collections.abc import Callable
from email.utils import parsedate_to_datetime

DATE_S = 2.0  # the age that a Date may have
SET_S = 2.0  # two clocks of one machine differ by more only after one was set
ROUND_TRIP_LIMIT_S = 10.0  # a longer round trip gives too wide an interval


class CloudClock:
    """The cloud's time, computed from this node's clock."""

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
        """The cloud's time minus this node's; 0 when they do not differ measurably."""
        wall, monotonic = self._measured_at
        was_set_s = (self._clock() - wall) - (self._monotonic() - monotonic)
        if not self.is_measured or abs(was_set_s) < SET_S:
            return self._offset_s
        return self._offset_s - was_set_s

    def boot_time(self) -> float:
        """Return the seconds of the clock that nobody sets."""
        return self._monotonic()

    def measure(self, date: str, took_s: float) -> None:
        """Measure by the Date and the round trip of an answer that has just arrived."""
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
