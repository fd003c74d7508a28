"""Finds the rows of the spool that the cloud's broker does not take.

Theory of operation
-------------------
A broker answers a message that it does not take by a reason code, or by closing the connection,
and then nothing says which of the messages on their way it was. So those are sent again one at a
time. A row is found that is alone on its way at the second break that the broker gives a reason
for, or at the second one in a row without: then it may be the broker that crashes, and not every
message on its way at a crash may be accused. A broker that is full for all refuses with "quota
exceeded": that is tried again later, and a row counts as refused only if the one behind it is
taken.

Not counted are breaks that no row causes: a network that is silent, a broker that says it stops,
a row that was on its way for longer than a broker needs to close.
"""

from gateway.uplink.window import SentEntry

BREAKS = 2
SOON_S = 10.0  # a broker that closes for cause does so at once

# MQTT 5, 3.14.2.1: reasons to disconnect that do not lie in a message
_NO_FAULT_OF_A_ROW = frozenset({0x00, 0x04, 0x89, 0x8B, 0x8D, 0x8E, 0x97, 0x98, 0x9C, 0x9D,
                                0x9F, 0xA0})  # fmt: skip


class PoisonDetector:
    """Remembers, across connections, which rows were on their way when one broke."""

    def __init__(self) -> None:
        self._breaks: dict[int, int] = {}  # by rows, with a reason
        self._breaks_alone: dict[int, int] = {}
        self._refusals: dict[int, int] = {}
        self._alone_until = 0
        self.waiting: int | None = None  # refused for now; the row behind it shows whose fault

    def is_sent_alone(self, cursor: int) -> bool:
        """Return whether the row behind a cursor is sent only when no other is on its way."""
        return cursor < self._alone_until

    def settle(self, row_id: int) -> None:
        """Forget a row that was acknowledged or set aside."""
        self._breaks.pop(row_id, None)
        self._breaks_alone.pop(row_id, None)
        self._refusals.pop(row_id, None)

    def begin(self) -> None:
        """Begin a connection."""
        self.waiting = None

    def broke(self, sent: list[SentEntry], reason: int | None, now: float) -> SentEntry | None:
        """Note a break by the peer, with what was on its way; return the row that causes it."""
        sent = [each for each in sent if each.row_id != self.waiting]
        if not sent or reason in _NO_FAULT_OF_A_ROW:
            return None
        self._alone_until = max(self._alone_until, sent[-1].row_id)
        recent = [each.row_id for each in sent if now - each.at <= SOON_S]
        if reason is not None:
            # what was on its way in earlier breaks and is not now has been acknowledged
            self._breaks = {row_id: self._breaks.get(row_id, 0) + 1 for row_id in recent}
        if len(sent) > 1 or not recent:
            return None
        row_id = recent[0]
        self._breaks_alone = {row_id: self._breaks_alone.get(row_id, 0) + 1}
        count = max(self._breaks.get(row_id, 0), self._breaks_alone[row_id])
        return sent[0] if count >= BREAKS else None

    def refused_for_now(self, row_id: int, last_row_id: int) -> bool:
        """Note a refusal that may pass; return whether to close and try again later."""
        self._alone_until = max(self._alone_until, last_row_id)
        if self.waiting is not None:  # the row behind is refused as well: it is the broker
            return True
        count = self._refusals[row_id] = self._refusals.get(row_id, 0) + 1
        if count < BREAKS:
            return True
        self._refusals = {row_id: count}
        self.waiting = row_id
        self._alone_until = max(self._alone_until, row_id + 1)
        return False
