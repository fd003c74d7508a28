"""Decides which schedules are due.

Theory of operation
-------------------
The caller looks at both clocks, runs what take_due() returns, and sleeps for wait_s(). Six rules
hold, whatever the clocks do:

1. An interval follows the monotonic clock alone. When the caller comes late, one run stands for
   all that were due, and the next is on the old grid.
2. A cron expression follows the wall clock. The caller looks at least each LOOK_S, because nothing
   tells it that the time was corrected.
3. A call returns each schedule at most once: a jump of the clock makes no burst.
4. A run that is late by more than LATE_S was missed: the clock jumped, or the process did not run.
   "once" makes up for all missed ones by one run, "skip" by none.
5. A clock that is set back by up to BACK_S repeats no run: the schedule waits until the time has
   passed again. A larger step means that the time before was wrong, and the schedule starts anew.
6. The time to wait is above zero after take_due(): the caller cannot spin.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from microservice.schedules.rules import Cron, Interval, Missed, Rule

LOOK_S = 10.0
LATE_S = 60.0  # the resolution of cron; a busy event loop is not a missed run
BACK_S = 3 * 3600.0
IDLE_S = 3600.0  # to wait without any schedule
SOON_S = 0.001


@dataclass(slots=True)
class _Entry:
    name: str
    rule: Rule
    due: float | None = None  # of the monotonic clock for an interval, unix time for cron


class Timetable:
    """The schedules of one service, and the next time of each."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._entries = [_Entry(name, rule) for name, rule in rules.items()]
        self._looked_at = 0.0  # the wall clock at the last look
        self.missed = 0  # runs, or rows of runs, that were skipped

    def start(self, wall: float, mono: float, last_runs: Mapping[str, float]) -> None:
        """Begin at a time; last_runs holds unix times of runs by earlier processes."""
        self._looked_at = wall
        for entry in self._entries:
            if isinstance(entry.rule, Interval):
                entry.due = mono + entry.rule.period_s
                continue
            last = last_runs.get(entry.name, wall)
            makes_up = entry.rule.missed is Missed.ONCE and last < wall
            entry.due = entry.rule.next_after(last if makes_up else wall)

    def take_due(self, wall: float, mono: float) -> list[str]:
        """Return, once, the names of the schedules to run now."""
        set_back = wall < self._looked_at - BACK_S
        self._looked_at = wall
        due = []
        for entry in self._entries:
            if isinstance(entry.rule, Interval):
                runs = _take_interval(entry, entry.rule, mono)
            else:
                if entry.due is None or set_back:
                    entry.due = entry.rule.next_after(wall)
                runs = self._take_cron(entry, entry.rule, wall)
            if runs:
                due.append(entry.name)
        return due

    def wait_s(self, wall: float, mono: float) -> float:
        """Return how long nothing can be due."""
        waits = [IDLE_S]
        for entry in self._entries:
            if isinstance(entry.rule, Cron):
                waits.append(LOOK_S)
            if entry.due is not None:
                waits.append(entry.due - (mono if isinstance(entry.rule, Interval) else wall))
        return max(min(waits), SOON_S)

    def _take_cron(self, entry: _Entry, rule: Cron, wall: float) -> bool:
        if entry.due is None or wall < entry.due:
            return False
        late = wall - entry.due > LATE_S
        entry.due = rule.next_after(wall)
        if late and rule.missed is Missed.SKIP:
            self.missed += 1
            return False
        return True


def _take_interval(entry: _Entry, rule: Interval, mono: float) -> bool:
    if entry.due is None or mono < entry.due:
        return False
    periods = (mono - entry.due) // rule.period_s + 1
    entry.due += periods * rule.period_s
    if entry.due <= mono:  # rounding of floats
        entry.due = mono + rule.period_s
    return True
