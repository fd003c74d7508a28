"""Bounds the streams that the holder of the SEP carries for members. Pure.

A member has at most STREAMS_OF_MEMBER at a time and HOUR_BYTES an hour, so that one that repeats
itself does not fill the holder's way to the cloud. `now` is the monotonic clock in seconds.
"""

from collections import Counter

STREAMS = 512
STREAMS_OF_MEMBER = 8  # MQTT, and the connections of the HTTP client
HOUR_BYTES = 1 << 30
HOUR_S = 3600.0


class WayBudget:
    """The open streams and the bytes of the present hour, by member."""

    def __init__(self, now: float) -> None:
        self._open: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._hour_until = now + HOUR_S
        self.carried_bytes = 0

    @property
    def streams(self) -> int:
        """The streams that are open."""
        return self._open.total()

    def open(self, member_id: str, now: float) -> str:
        """Count a new stream; return why there is none."""
        self._turn_hour(now)
        if self.streams >= STREAMS:
            return f"{STREAMS} streams are open already"
        if self._open[member_id] >= STREAMS_OF_MEMBER:
            return f"{STREAMS_OF_MEMBER} streams of this member are open already"
        if self._bytes[member_id] >= HOUR_BYTES:
            return f"this member has had {HOUR_BYTES >> 20} MiB in this hour"
        self._open[member_id] += 1
        return ""

    def move(self, member_id: str, size: int, now: float) -> bool:
        """Count bytes of a member's streams; return False when they are too many in this hour."""
        self._turn_hour(now)
        self._bytes[member_id] += size
        self.carried_bytes += size
        return self._bytes[member_id] < HOUR_BYTES

    def close(self, member_id: str) -> None:
        """Count the end of a stream."""
        self._open[member_id] -= 1
        if not self._open[member_id]:
            del self._open[member_id]

    def _turn_hour(self, now: float) -> None:
        if now >= self._hour_until:
            self._bytes.clear()
            self._hour_until = now + HOUR_S
