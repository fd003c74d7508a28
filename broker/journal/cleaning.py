"""Finds the records of the oldest segment that must be written again, a few at a time.

The copies of one step must be written before any later record: they describe the state at their
place in the log. The image must apply them when they are written.
"""

from collections.abc import Iterator

from broker.journal.errors import JournalError
from broker.journal.items import describe_session
from broker.journal.record_codec import decode_records
from broker.journal.records import Record, Stored
from broker.journal.segments import SegmentName, read_segment
from broker.journal.state import JournalState

WASTE_FACTOR = 2  # the log may be so many times what is live: each byte is copied about once
SPARE_SEGMENTS = 2

Step = tuple[list[Record], int]  # copies of one item, and how many bytes were read for them


class SegmentCleaner:
    """Goes through one segment that is no longer written to."""

    def __init__(self, image: JournalState, name: SegmentName, buffer: bytes) -> None:
        self.name = name
        self.is_done = False
        # A cleaning is often given up half-way: its segment dies by itself. The generator must
        # not refer to it, for that circle would keep the buffer until the collector looks.
        self._copies = _find_copies(image, name, buffer)

    def step(self, limit_bytes: int) -> list[list[Record]]:
        """Return the next copies, those of one item together; read about so many bytes."""
        found = []
        read = 0
        while read < limit_bytes:
            item = next(self._copies, None)
            if item is None:
                self.is_done = True
                break
            copy, size = item
            read += size
            if copy:
                found.append(copy)
        return found


def _find_copies(image: JournalState, name: SegmentName, buffer: bytes) -> Iterator[Step]:
    if image.clock is not None:  # the last one may be in this segment
        yield [image.clock], 0
    sessions = image.sessions
    for session_id in [each.session_id for each in sessions.values() if each.home == name.number]:
        session = sessions.get(session_id)
        if session is not None:
            copy = list(describe_session(session))
            yield copy, sum(map(len, copy)) * 16  # about
    for piece in read_segment(buffer, name.marker):
        if not isinstance(piece, bytes):
            continue
        size = len(piece)
        for record in _decode(piece):
            if isinstance(record, Stored):
                yield image.renew(record, name.number), size
                size = 0
        if size:
            yield [], size


def _decode(body: bytes) -> list[Record]:
    try:
        return decode_records(body)
    except JournalError:
        return []  # it was reported when the journal was opened


def should_clean(log_bytes: int, live_bytes: int, segments: int, segment_bytes: int) -> bool:
    """Return whether the oldest segment should be written again and removed.

    The log may hold as much waste as live records, so cleaning writes about one byte for each
    byte that is appended. Many small segments, of many restarts, are joined as well.
    """
    allowed = WASTE_FACTOR * live_bytes + SPARE_SEGMENTS * segment_bytes
    needed = allowed // segment_bytes
    return log_bytes > allowed or segments > 4 * needed + 16
