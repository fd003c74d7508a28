"""Decides when a scanner is rebuilt. Pure.

A scanner lies in three ways: it does not start, it does not stop, or it runs and hears nothing. The
last one looks like a place without devices. So silence rebuilds it after SILENCE_S, and, as long as
rebuilt ones hear nothing either, ever more rarely. After RESTART_AFTER failures in a row the
adapter is switched off and on; for silence after twice as many if that costs links. A system that
takes a scan for running refuses all further ones: there, nothing else helps.

Trap: silence counts from the start of a scanner. Counted from the last advertisement, it would
replace each new scanner at once.
"""

SILENCE_S, LONGEST_SILENCE_S = 12.0, 300.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
PATIENT_REBUILDS = 3  # at SILENCE_S each, before the waits grow
RESTART_AFTER = 4


class ScanHealth:
    """The recent past of the scanners of one adapter."""

    def __init__(self) -> None:
        self._heard_at = 0.0  # or started at
        self._silences = 0  # in a row
        self._failures = 0  # in a row
        self._has_restarted = False

    def start(self, now: float) -> None:
        """Note that a scanner runs, or runs on after a pause."""
        self._heard_at = now
        self._failures = 0

    def hear(self, now: float) -> None:
        """Note an advertisement."""
        self._heard_at = now
        self._silences = 0
        self._has_restarted = False

    def fail(self) -> float:
        """Note that a scanner did not start; return the pause before the next try."""
        self._failures += 1
        return min(FIRST_PAUSE_S * 2.0 ** (min(self._failures, 10) - 1), LONGEST_PAUSE_S)

    def silence_at(self) -> float:
        """Return when the scanner counts as silent unless it hears something."""
        surplus = max(self._silences - PATIENT_REBUILDS + 1, 0)
        return self._heard_at + min(SILENCE_S * 2.0 ** min(surplus, 10), LONGEST_SILENCE_S)

    def note_silence(self) -> None:
        """Note that the scanner was silent, and is rebuilt."""
        self._silences += 1

    def wants_restart(self, *, has_links: bool) -> bool:
        """Return, once in a row of failures, that the adapter has to be switched off and on."""
        patience = RESTART_AFTER * 2 if has_links else RESTART_AFTER
        is_due = self._failures >= RESTART_AFTER or self._silences >= patience
        if self._has_restarted or not is_due:
            return False
        self._has_restarted = True
        return True
