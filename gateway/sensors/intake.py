"""Takes advertisements from the scanner into a bounded queue, and counts those that it drops. Pure.

Advertisements of strangers have a rate of their own, so that a flood of invented addresses does not
displace the frames of accepted sensors.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway.limits.token_bucket import Rate, TokenBucket
from gateway.sensors.frames import Frame, read_frame
from hardware.radio.advertisement import Advertisement

QUEUE_LIMIT = 256  # frames; of 255 bytes at most
STRANGER_RATE = Rate(burst=64, interval_s=0.05)  # frames of all strangers


@dataclass(frozen=True, slots=True)
class HeardFrame:
    """A frame, and what the scanner says about it."""

    frame: Frame
    advertisement: Advertisement


class Intake:
    """The frames that wait, and the counters of all frames by result."""

    def __init__(self, is_accepted: Callable[[str], bool]) -> None:
        self.counts: Counter[str] = Counter()
        self._is_accepted = is_accepted
        self._waiting: deque[HeardFrame] = deque()
        self._bucket = TokenBucket(STRANGER_RATE)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, advertisement: Advertisement) -> None:
        """Queue the frame in an advertisement, if it holds one; FrameError for a bad one."""
        frame = read_frame(advertisement)
        if frame is None:
            return
        if len(self._waiting) >= QUEUE_LIMIT:
            self.counts["queue full"] += 1
        elif not self._is_accepted(frame.address) and not self._bucket.take(advertisement.heard_at):
            self.counts["too many strangers"] += 1
        else:
            self._waiting.append(HeardFrame(frame, advertisement))

    def take(self) -> list[HeardFrame]:
        """Return the frames that wait, and empty the queue."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken
