"""Limits the log lines that peers can cause.

Theory of operation
-------------------
A line that a peer causes is logged once a minute for one peer and one kind, and ten a second in
all; suppressed lines are counted and summed up at the end of their minute, with the messages that
were dropped. So the log has every kind of event and grows by a known amount, whatever peers do.
tick() advances the time; between two ticks no time passes.
"""

import logging
from collections import Counter

from broker.quota.counters import BrokerCounters

logger = logging.getLogger(__name__)

LINES = 10  # between two ticks of a second each: 5 MB of log an hour at the very worst
WINDOW_S = 60.0
COMINGS_AND_GOINGS = 5  # of one client within the minute, connects and disconnects together
NAMED = 5  # kinds that a summary names, the most frequent first


class LogLimiter:
    """Decides which lines are logged, and sums up the others."""

    def __init__(self, counters: BrokerCounters) -> None:
        self._counters = counters
        self._left = LINES
        self._logged: Counter[tuple[str, str]] = Counter()  # within LINES a tick, so it is bounded
        self._suppressed: Counter[str] = Counter()
        self._dropped = counters.dropped.copy()
        self._ends: float | None = None  # of this minute

    def may_log(self, peer: str, kind: str, times: int = 1) -> bool:
        """Return whether a line of this kind about this peer may be logged now."""
        if self._left <= 0 or self._logged[peer, kind] >= times:
            self._suppressed[kind] += 1
            return False
        self._left -= 1
        self._logged[peer, kind] += 1
        return True

    def tick(self, now: float) -> None:
        """Allow lines again, once a second; log the summary, once a minute."""
        self._left = LINES
        if self._ends is None:
            self._ends = now + WINDOW_S
        elif now >= self._ends:
            self._ends = now + WINDOW_S
            self.sum_up()

    def sum_up(self) -> None:
        """Log the suppressed lines and dropped messages since the last summary."""
        if self._suppressed:
            logger.info("not logged one by one: %s", _write(self._suppressed))
        dropped = self._counters.dropped - self._dropped
        if dropped:
            logger.info("messages dropped in the last minute: %s", _write(dropped))
        self._dropped = self._counters.dropped.copy()
        self._logged.clear()
        self._suppressed.clear()


def _write(counted: Counter[str]) -> str:
    named = counted.most_common(NAMED)
    rest = counted.total() - sum(count for _, count in named)
    parts = [f"{kind} {count}" for kind, count in named]
    return ", ".join([*parts, f"others {rest}"] if rest else parts)
