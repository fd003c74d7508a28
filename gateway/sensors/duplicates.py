"""Recognizes the copies of one packet that a sensor sends, so that it counts once. Pure.

A sensor sends each packet several times, because packets get lost. A packet id tells the copies of
one packet from the next packet; without one, equal bytes do. Ids and bytes return in time, so both
hold within a window only. The window of a packet with events runs from its last copy, so that one
press of a button stays one; that of other packets from the first copy, so that a value that does
not change is published again.
"""

WINDOW_S = 4.0  # as the reference parser has it
BEHIND = 64  # of 256 packet ids: those so far behind are late
RECENT_LIMIT = 4  # packets without an id


class DuplicateFilter:
    """The last packets of one sensor."""

    def __init__(self) -> None:
        self._packet_id: int | None = None
        self._id_at = 0.0
        self._recent: dict[bytes, float] = {}  # without an id; until when it is a copy

    def is_duplicate(
        self, packet_id: int | None, objects: bytes, now: float, *, has_events: bool
    ) -> bool:
        """Note a packet, and return whether it is a copy of an earlier one, or late."""
        if packet_id is None:
            return self._is_recent(objects, now, has_events=has_events)
        if self._packet_id is not None and now - self._id_at <= WINDOW_S:
            distance = (packet_id - self._packet_id) % 256
            if distance == 0 or distance > 256 - BEHIND:
                if has_events and distance == 0:
                    self._id_at = now
                return True
        self._packet_id, self._id_at = packet_id, now
        return False

    def _is_recent(self, objects: bytes, now: float, *, has_events: bool) -> bool:
        ends_at = self._recent.get(objects)
        is_copy = ends_at is not None and now <= ends_at
        if not is_copy or has_events:
            self._recent.pop(objects, None)  # the newest last
            self._recent[objects] = now + WINDOW_S
            if len(self._recent) > RECENT_LIMIT:
                del self._recent[next(iter(self._recent))]
        return is_copy
