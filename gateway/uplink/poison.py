"""Finds the rows of the spool that the cloud's broker refuses (poison messages). Pure.

Theory of operation
-------------------
A broker refuses a message by a reason code or by closing the connection. A closed connection does
not name the message, so the forwarder sends all messages that were unacknowledged again, one at a
time. A row is poison if it was the only unacknowledged one at the second break with a reason, or
at the second successive break without a reason. A break without a reason may be a crash of the
broker, and a crash must not condemn every message that was unacknowledged at that moment.

A broker that is full for all clients refuses with "quota exceeded". The forwarder tries such a row
again later. The row counts as refused only if the broker accepts the row behind it.

Breaks that no row causes do not count: a silent network, a broker that announces its stop, a row
that was unacknowledged for longer than a broker needs to close.
"""

from gateway.uplink.window import SentEntry

BREAKS = 2
SOON_S = 10.0  # a broker that closes because of a message does so at once

# MQTT 5, 3.14.2.1: reasons to disconnect that no message causes
_NOT_CAUSED_BY_A_ROW = frozenset({0x00, 0x04, 0x89, 0x8B, 0x8D, 0x8E, 0x97, 0x98, 0x9C, 0x9D,
                                0x9F, 0xA0})  # fmt: skip


class PoisonDetector:
    """Counts breaks and refusals per row, across connections."""

    def __init__(self) -> None:
        self._breaks: dict[int, int] = {}  # by rows, with a reason
        self._breaks_alone: dict[int, int] = {}
        self._refusals: dict[int, int] = {}
        self._alone_until = 0
        self.waiting: int | None = None  # refused for now, until the row behind it is answered

    def is_sent_alone(self, cursor: int) -> bool:
        """Return whether the row behind a cursor may be sent only without others in flight."""
        return cursor < self._alone_until

    def settle(self, row_id: int) -> None:
        """Forget a row that is acknowledged or set aside."""
        self._breaks.pop(row_id, None)
        self._breaks_alone.pop(row_id, None)
        self._refusals.pop(row_id, None)

    def begin(self) -> None:
        """Begin a connection."""
        self.clear_waiting()

    def clear_waiting(self) -> None:
        """Wait for no further answer about the row that was refused for now."""
        self.waiting = None

    def broke(self, sent: list[SentEntry], reason: int | None, now: float) -> SentEntry | None:
        """Note a break by the peer, with the rows in flight; return the row that causes it."""
        sent = [each for each in sent if each.row_id != self.waiting]
        if not sent or reason in _NOT_CAUSED_BY_A_ROW:
            return None
        self._alone_until = max(self._alone_until, sent[-1].row_id)
        recent = [each.row_id for each in sent if now - each.at <= SOON_S]
        if reason is not None:
            # a row of an earlier break that is not in flight now has been acknowledged
            self._breaks = {row_id: self._breaks.get(row_id, 0) + 1 for row_id in recent}
        if len(sent) > 1 or not recent:
            return None
        row_id = recent[0]
        self._breaks_alone = {row_id: self._breaks_alone.get(row_id, 0) + 1}
        count = max(self._breaks.get(row_id, 0), self._breaks_alone[row_id])
        return sent[0] if count >= BREAKS else None

    def refused_for_now(self, row_id: int, last_row_id: int) -> bool:
        """Note a temporary refusal; return whether to close and try again later."""
        self._alone_until = max(self._alone_until, last_row_id)
        if (
            self.waiting is not None
        ):  # the broker refuses the row behind it, too: it refuses all rows
            return True
        count = self._refusals[row_id] = self._refusals.get(row_id, 0) + 1
        if count < BREAKS:
            return True
        self._refusals = {row_id: count}
        self.waiting = row_id
        self._alone_until = max(self._alone_until, row_id + 1)
        return False
