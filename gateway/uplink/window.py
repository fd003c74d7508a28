"""Tracks the messages in flight to the cloud. Pure.

What holds after every call: every row at or below `watermark` is settled (acknowledged or set
aside), so the spool may delete it; the row behind it is not.
"""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class SentEntry:
    """One message in flight."""

    packet_id: int
    row_id: int
    topic: str = ""
    size: int = 0
    at: float = 0.0
    settled: bool = False

    def settle(self) -> None:
        """Note that the message is acknowledged or set aside."""
        self.settled = True


class SendWindow:
    """A bounded set of messages that are sent and not yet deleted."""

    def __init__(self, size: int, limit_bytes: int, cursor: int = 0) -> None:
        self._size, self._limit_bytes = size, limit_bytes
        self._rows: OrderedDict[int, SentEntry] = OrderedDict()  # by packet id, oldest first
        self._bytes = 0
        self.cursor = cursor  # the last row that was sent
        self.watermark = cursor

    @property
    def free(self) -> int:
        """The number of further messages that may be sent now."""
        return self._size - len(self._rows) if self._bytes < self._limit_bytes else 0

    @property
    def free_bytes(self) -> int:
        """The number of further bytes that may be sent now."""
        return self._limit_bytes - self._bytes

    def sent(self, message: SentEntry) -> bool:
        """Note a sent message, in rising order of rows; return whether its packet id was free."""
        if message.packet_id in self._rows:
            return False
        self._rows[message.packet_id] = message
        self._bytes += message.size
        self.cursor = message.row_id
        return True

    def skipped(self, row_id: int) -> bool:
        """Note a message set aside unsent; return whether the watermark rose."""
        self.cursor = row_id
        if self._rows:
            return False  # it rises when the messages in flight are settled
        self.watermark = row_id
        return True

    def find(self, packet_id: int) -> SentEntry | None:
        """Return a message that is not settled, or None."""
        sent = self._rows.get(packet_id)
        return None if sent is None or sent.settled else sent

    def unsettled(self) -> list[SentEntry]:
        """Return the messages that are not settled, oldest first."""
        return [each for each in self._rows.values() if not each.settled]

    def acknowledged(self, packet_id: int) -> bool:
        """Note that a message is settled; return whether the watermark rose."""
        if packet_id not in self._rows:
            return False
        self._rows[packet_id].settle()
        before = self.watermark
        while self._rows:
            oldest, sent = next(iter(self._rows.items()))
            if not sent.settled:
                break
            self.watermark = sent.row_id
            self._bytes -= sent.size
            del self._rows[oldest]
        return self.watermark > before
