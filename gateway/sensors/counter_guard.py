"""Decides by its counter whether an authentic frame of a sensor is new. Pure.

Only frames that the key has opened come here, so nobody without the key can move the counter.

Rules
-----
A counter above the last one is new. One that equals it is new while its frame was not seen: some
firmware sends two different messages under one counter. One a little below is late, by another
order of reception. One further below went back: an old frame that somebody repeats, or a sensor
that counts anew (a new battery, a counter of 16 bits). Nobody can tell which, so nothing of it
counts until the owner decides; a counter above the last one shows that the sensor counts on.

The store holds a floor that no accepted counter exceeds, so after a power cut no accepted frame
counts again. To write seldom, the floor is RESERVE in advance; a stop writes it exactly, and a
power cut costs at most RESERVE frames. A trigger-based sensor has no reserve: an event is rare, and
one that is lost does not come again.
"""

from enum import StrEnum

RESERVE = 16  # counters; a sensor that sends each 10 s costs a write in 160 s
SAME_LIMIT = 4  # frames of one counter
NO_COUNTER = -1


class CounterVerdict(StrEnum):
    """The meanings of a counter."""

    NEW = "new"
    REPEATED = "repeated"
    LATE = "late"
    WENT_BACK = "went back"


class CounterGuard:
    """The last counter of one sensor."""

    def __init__(self, floor: int = NO_COUNTER) -> None:
        self.last = floor
        self.lower: int | None = None  # the highest one since the counter went back
        self._stored = floor
        self._same: set[bytes] = set()  # the frames of the last counter

    def judge(self, counter: int, body: bytes) -> CounterVerdict:
        """Note the counter of a frame, and return its meaning."""
        if counter > self.last:
            self.last, self.lower, self._same = counter, None, {body}
            return CounterVerdict.NEW
        if counter == self.last:
            return self._judge_same(body)
        if self.last - counter <= RESERVE:
            return CounterVerdict.LATE
        self.lower = counter if self.lower is None else max(counter, self.lower)
        return CounterVerdict.WENT_BACK

    def resume(self) -> bool:
        """Accept counters above the highest one since it went back; False when it did not."""
        if self.lower is None:
            return False
        self.last, self.lower, self._same = self.lower, None, set()
        return True

    def floor_to_store(self, *, is_exact: bool) -> int | None:
        """Return the floor to store before the last frame counts, or None if the stored one does.

        is_exact is for sensors of which no frame may be lost, and for a stop.
        """
        if self.last == NO_COUNTER or (self.last <= self._stored and not is_exact):
            return None
        floor = self.last if is_exact else self.last + RESERVE
        return floor if floor != self._stored else None

    def note_stored(self, floor: int) -> None:
        """Note that the store holds a floor."""
        self._stored = floor

    def _judge_same(self, body: bytes) -> CounterVerdict:
        is_known = not self._same or body in self._same  # before a restart it was one of them
        if is_known or len(self._same) >= SAME_LIMIT:
            return CounterVerdict.REPEATED
        self._same.add(body)
        return CounterVerdict.NEW
