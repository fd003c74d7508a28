"""Messages on their way to the cloud: how far can the spool be emptied?

What holds after every call: everything at or below `watermark` is acknowledged, and nothing
above it that is not acknowledged may be deleted.
"""

from collections import OrderedDict


class Window:
    """A bounded set of messages that were sent and not yet deleted."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[int, tuple[int, bool]] = OrderedDict()  # packet id: row, acked
        self.cursor = 0  # the last row that was sent
        self.watermark = 0

    @property
    def room(self) -> int:
        """How many more may be sent now."""
        return self._size - len(self._rows)

    def sent(self, packet_id: int, row_id: int) -> bool:
        """A message left; rows are sent in rising order. Return whether its packet id was free."""
        if packet_id in self._rows:
            return False
        self._rows[packet_id] = (row_id, False)
        self.cursor = row_id
        return True

    def acknowledged(self, packet_id: int) -> bool:
        """Note an acknowledgement; return whether the watermark rose."""
        if packet_id not in self._rows:
            return False
        self._rows[packet_id] = (self._rows[packet_id][0], True)
        before = self.watermark
        while self._rows:
            oldest, (row_id, acked) = next(iter(self._rows.items()))
            if not acked:
                break
            self.watermark = row_id
            del self._rows[oldest]
        return self.watermark > before
