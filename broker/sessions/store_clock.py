"""Converts between the clock of the loop and the clock of the store, and records both.

A clock of the store never runs backwards, so that messages and sessions expire in time when the
wall clock is set, and across restarts.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from broker.journal.records import ClockRead

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.journal.records import Record, Series

    Done = Callable[[bool], None]

CLOCK_READ_S = 60.0  # between two of them: a power cut lengthens lives by up to this, if the
# wall clock is set back as well
CLOCK_STEP_S = 1.0  # by which the wall clock was set, not corrected


class RecordSink(Protocol):
    """Stores records."""

    @property
    def is_behind(self) -> bool:
        """True when senders should wait."""

    def append(
        self, records: Sequence[Record | Series], done: Done | None = None, *, must: bool = False
    ) -> None:
        """Keep all or none; done is called later. Without it, or with must, never refuse."""


class StoreClock:
    """Gives the store's time; without a store it does nothing."""

    __slots__ = ("_ahead_s", "_boot", "_clock_read_at", "_store", "_wall_ahead_s")

    def __init__(self, store: RecordSink | None) -> None:
        self._store = store
        self._ahead_s = self._wall_ahead_s = 0.0  # of the store's clock and the wall clock
        self._clock_read_at = -inf
        self._boot = ""

    def start(self, last: ClockRead | None, now: float, wall: float, boot: str) -> None:
        """Continue the store's clock; now is the time since the machine's start named by boot."""
        self._wall_ahead_s = wall - now
        self._boot = boot
        self._ahead_s = _go_on_from(last, now, wall, boot) - now
        self.read(now)

    def note_wall(self, now: float, wall: float) -> None:
        """Note the time of the wall clock, which may have been set."""
        ahead_s = wall - now
        is_set = abs(ahead_s - self._wall_ahead_s) >= CLOCK_STEP_S
        self._wall_ahead_s = ahead_s
        if is_set or now - self._clock_read_at >= CLOCK_READ_S:
            self.read(now)

    def read(self, now: float) -> None:
        """Record both clocks (rule 7); collected records may follow it."""
        self._clock_read_at = now
        if self._store is not None:
            wall = now + self._wall_ahead_s
            self._store.append((ClockRead(now + self._ahead_s, wall, now, self._boot),))

    def note_end(self, now: float) -> None:
        """Record both clocks before something with an end, unless that was just done."""
        if now != self._clock_read_at:
            self.read(now)

    def to_store(self, instant: float | None) -> float:
        """Convert an instant of the broker's clock to the store's."""
        return 0.0 if instant is None else instant + self._ahead_s

    def instant(self, stored: float) -> float | None:
        """Convert an instant of the store's clock to the broker's."""
        return stored - self._ahead_s if stored else None


def _go_on_from(last: ClockRead | None, now: float, wall: float, boot: str) -> float:
    """Return the time of the store's clock, given its last reading."""
    if last is None:
        return wall
    if boot and last.boot == boot and now >= last.uptime:
        return last.at + now - last.uptime
    return last.at + max(wall - last.wall, 0.0)  # a negative difference: it was set back
