"""Judges whether a process still answers, and whether it sends too many reports.

Answers are judged by the number of questions, not by time.

A gateway that was suspended itself asks once when it goes on, and gets the answer; with a clock
it would find the process silent for as long as it slept.
"""

REPORTS_PER_S = 100  # it has reason for a few
QUESTIONS = 4  # unanswered, one after the other, mean that it is blocked


class Liveness:
    """The questions that one process has not answered."""

    def __init__(self, bound_s: float) -> None:
        self.bound_s, self.interval_s = bound_s, bound_s / QUESTIONS
        self._unanswered = 0

    def ask(self) -> bool:
        """Note a further question; return False instead when too many were not answered."""
        if self._unanswered >= QUESTIONS:
            return False
        self._unanswered += 1
        return True

    def answered(self) -> None:
        """Note an answer."""
        self._unanswered = 0


class ReportLimiter:
    """Counts the reports of one process in each second."""

    def __init__(self) -> None:
        self._second, self._reports = 0, 0

    def admit(self, now: float) -> bool:
        """Return whether a report is within the limit."""
        if int(now) != self._second:
            self._second, self._reports = int(now), 0
        self._reports += 1
        return self._reports <= REPORTS_PER_S
