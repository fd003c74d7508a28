"""Messages on their way to the cloud: how far can the spool be emptied?

What holds after every call: everything at or below `watermark` is settled (acknowledged or set
aside), and nothing above it that is not settled may be deleted.
"""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class Sent:
    """One message on its way."""

    packet_id: int
    row_id: int
    topic: str = ""
    size: int = 0
    at: float = 0.0
    settled: bool = False


class Window:
    """A bounded set of messages that were sent and not yet deleted."""

    def __init__(self, size: int, limit_bytes: int, cursor: int = 0) -> None:
        self._size, self._limit_bytes = size, limit_bytes
        self._rows: OrderedDict[int, Sent] = OrderedDict()  # by packet id, oldest first
        self._bytes = 0
        self.cursor = cursor  # the last row that was sent
        self.watermark = cursor

    @property
    def room(self) -> int:
        """How many more may be sent now."""
        return self._size - len(self._rows) if self._bytes < self._limit_bytes else 0

    @property
    def room_bytes(self) -> int:
        """How many bytes more may be sent now."""
        return self._limit_bytes - self._bytes

    def sent(self, message: Sent) -> bool:
        """A message left; rows are sent in rising order. Return whether its packet id was free."""
        if message.packet_id in self._rows:
            return False
        self._rows[message.packet_id] = message
        self._bytes += message.size
        self.cursor = message.row_id
        return True

    def skipped(self, row_id: int) -> bool:
        """A message was set aside unsent; return whether the watermark rose."""
        self.cursor = row_id
        if self._rows:
            return False  # it rises with the last of those that are on their way
        self.watermark = row_id
        return True

    def find(self, packet_id: int) -> Sent | None:
        """Return a message that is not settled, None if there is none."""
        sent = self._rows.get(packet_id)
        return None if sent is None or sent.settled else sent

    def unsettled(self) -> list[Sent]:
        """Return the messages without an answer, oldest first."""
        return [each for each in self._rows.values() if not each.settled]

    def acknowledged(self, packet_id: int) -> bool:
        """Note that a message is settled; return whether the watermark rose."""
        if packet_id not in self._rows:
            return False
        self._rows[packet_id].settled = True
        before = self.watermark
        while self._rows:
            oldest, sent = next(iter(self._rows.items()))
            if not sent.settled:
                break
            self.watermark = sent.row_id
            self._bytes -= sent.size
            del self._rows[oldest]
        return self.watermark > before
