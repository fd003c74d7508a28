"""What of the oldest segment must be written again, a few records at a time.

The copies of one step must be written before anything that was appended later, so that they say
what was true at their place in the log, and the image must take them when they are written.
"""

from collections.abc import Iterator

from broker.journal.errors import JournalError
from broker.journal.records import Record, Stored, decode_records
from broker.journal.segments import SegmentName, read_segment
from broker.journal.state import Image, describe_session


class Cleaning:
    """Goes through one segment that is no longer written to."""

    def __init__(self, image: Image, name: SegmentName, buffer: bytes) -> None:
        self.name = name
        self.is_done = False
        self._image = image
        self._buffer = buffer
        self._position = 0
        self._copies = self._find_copies()

    def step(self, limit_bytes: int) -> list[list[Record]]:
        """Return the next copies, those of one item together; read about so many bytes."""
        found = []
        start = self._position
        while self._position - start < limit_bytes:
            copy = next(self._copies, None)
            if copy is None:
                self.is_done = True
                break
            if copy:
                found.append(copy)
        return found

    def _find_copies(self) -> Iterator[list[Record]]:
        if self._image.clock is not None:  # the last one may be in this segment
            yield [self._image.clock]
        number = self.name.number
        sessions = self._image.sessions
        for session_id in [each.session_id for each in sessions.values() if each.home == number]:
            session = sessions.get(session_id)
            if session is not None:
                copy = list(describe_session(session))
                self._position += sum(map(len, copy)) * 16  # about
                yield copy
        for piece in read_segment(self._buffer, self.name.marker):
            if not isinstance(piece, bytes):
                continue
            self._position += len(piece)
            for record in _decode(piece):
                if isinstance(record, Stored):
                    yield self._image.renew(record, number)


def _decode(body: bytes) -> list[Record]:
    try:
        return decode_records(body)
    except JournalError:
        return []  # it was reported when the journal was opened
