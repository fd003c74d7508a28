"""Queues messages until the broker acknowledges them: bounded, at-least-once. Pure.

Paths are topics below the device's prefix, which a new join may change.

Theory. An entry waits in a linked list, in the order of put(); then it is in flight: it has a
packet id, and is SENT, or WAITING again after a reconnect. DELIVERED and DROPPED entries have left
the outbox, do not change any more, and have no payload. At most `window` entries are in flight. An
entry in flight is never dropped: the broker may have it. Neither is an entry that is `kept`, as
replies are. When there is no room, the oldest other entry is dropped and counted. So each call
takes the same time however many wait; only a drop walks past entries that are kept.

Whatever else of the package grows with what a peer sends (commands that wait) reserves its bytes
here, so that one bound holds for all. take_back() takes readings out for the queue in flash.
"""

from micropython import const

WAITING = "waiting"
SENT = "sent"
DELIVERED = "delivered"
DROPPED = "dropped"

_ENTRY_BYTES = const(192)  # the cost of an entry besides its texts, on a 32-bit board


class Entry:
    """One message on its way."""

    def __init__(self, path, payload, on_end, kept):
        self.path = path
        self.payload = payload
        self.kept = kept
        self.state = WAITING
        self.packet_id = 0
        self.dup = False
        self.on_end = on_end
        self.later = None  # the entry behind it

    def size(self):
        """Return about how much memory it takes."""
        return _ENTRY_BYTES + len(self.path) + len(self.payload)

    def end(self, state):
        """Leave the outbox; tell the waiting task."""
        self.state = state
        self.payload = None  # a reference to the entry does not keep its bytes
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()


class Outbox:
    """Messages until they are acknowledged."""

    def __init__(self, limit, limit_bytes, window=4, last_packet_id=65534):
        self.dropped = 0
        self.delivered = 0
        self._limit = max(limit, window + 1)
        self._limit_bytes = limit_bytes
        self._window = window
        self._last_packet_id = last_packet_id
        self._packet_id = 0
        self._flight = []
        self._first = self._last = None  # of those that wait
        self._count = 0
        self._bytes = 0
        self._reserved = 0

    def __len__(self):
        return self._count

    def put(self, path, payload, on_end=None, kept=False):
        """Return the new entry; it is DROPPED at once when nothing can make room for it."""
        entry = Entry(path, payload, on_end, kept)
        size = entry.size()
        while self._is_full(size):
            if not self._drop_oldest():
                self.dropped += 1
                entry.end(DROPPED)
                return entry
        self._append(entry)
        self._count += 1
        self._bytes += size
        return entry

    def has_room(self, size, share=1):
        """Return whether an entry of so many bytes fits into the first 1/share of the bounds."""
        size += _ENTRY_BYTES
        if not self._count and not self._reserved:
            return size <= self._limit_bytes
        return (
            self._count < self._limit // share
            and self._bytes + self._reserved + size <= self._limit_bytes // share
        )

    def reserve(self, size):
        """Take room for bytes that are kept elsewhere, up to half of all; return False without."""
        reserved = self._reserved + size
        if self._reserved and reserved > self._limit_bytes // 2:
            return False
        if self._bytes + reserved > self._limit_bytes:
            return False
        self._reserved = reserved
        return True

    def release(self, size):
        """Give reserved room back."""
        self._reserved -= size

    def has_readings(self):
        """Return whether take_back() has something to take."""
        entry = self._first
        for sent in self._flight:
            if sent.on_end is None:
                return True
        while entry is not None and entry.on_end is not None:
            entry = entry.later
        return entry is not None

    def take_back(self, with_sent):
        """Take out and return the readings that nobody waits for, in their order.

        Those in flight only if asked for: they go out again under another packet id then.
        """
        taken, flight = [], []
        for entry in self._flight:
            (taken if with_sent and entry.on_end is None else flight).append(entry)
        self._flight = flight
        entry, self._first, self._last = self._first, None, None
        while entry is not None:
            later, entry.later = entry.later, None
            if entry.on_end is None:
                taken.append(entry)
            else:
                self._append(entry)
            entry = later
        for entry in taken:
            self._leave(entry)
        return taken

    def take_unsent(self):
        """Return the next entry to send, now SENT, or None: nothing waits or the window is full."""
        for entry in self._flight:
            if entry.state == WAITING:
                entry.state = SENT
                return entry
        entry = self._first
        if entry is None or len(self._flight) >= self._window:
            return None
        self._first, entry.later = entry.later, None
        if self._first is None:
            self._last = None
        entry.packet_id = self._new_packet_id()
        entry.state = SENT
        self._flight.append(entry)
        return entry

    def acknowledge(self, packet_id):
        """Take out the entry that a PUBACK names; return whether there was one."""
        for entry in self._flight:
            if entry.packet_id == packet_id and entry.state == SENT:
                self._flight.remove(entry)
                self._leave(entry)
                self.delivered += 1
                entry.end(DELIVERED)
                return True
        return False

    def has_sent(self):
        """Return whether a PUBACK is owed to us."""
        for entry in self._flight:
            if entry.state == SENT:
                return True
        return False

    def reconnected(self, session_present):
        """Send again what was not acknowledged; DUP only if the broker kept our session."""
        for entry in self._flight:  # [MQTT-4.4.0-1], [MQTT-4.6.0-1]
            entry.state = WAITING
            entry.dup = session_present

    def _append(self, entry):
        if self._first is None:
            self._first = entry
        else:
            self._last.later = entry
        self._last = entry

    def _leave(self, entry):
        self._count -= 1
        self._bytes -= entry.size()

    def _is_full(self, size):
        return (
            self._count >= self._limit
            or self._bytes + self._reserved + size > self._limit_bytes
        )

    def _drop_oldest(self):
        before, entry = None, self._first
        while entry is not None and entry.kept:
            before, entry = entry, entry.later
        if entry is None:
            return False
        if before is None:
            self._first = entry.later
        else:
            before.later = entry.later
        if self._last is entry:
            self._last = before
        self._leave(entry)
        self.dropped += 1
        entry.end(DROPPED)
        return True

    def _new_packet_id(self):
        while True:
            self._packet_id = self._packet_id % self._last_packet_id + 1
            for entry in self._flight:
                if entry.packet_id == self._packet_id:
                    break
            else:
                return self._packet_id
