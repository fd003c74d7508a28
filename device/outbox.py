"""Queues messages until the broker acknowledges them: bounded, at-least-once. Pure.

Paths are topics below the device's prefix, which a new join may change.

Theory. Entries stand in the order they were put. An entry is WAITING (to be sent, perhaps again),
SENT (it has a packet id and no PUBACK yet), DELIVERED or DROPPED; the last two have left the
outbox and do not change any more; they have no payload any more. At most `window` entries are
SENT. An entry that has a packet id keeps it, and is never dropped: the broker may have it. Neither
is an entry that is `kept`, as replies are. When there is no room, the oldest other entry is
dropped and counted.

Whatever else of the package grows with what a peer sends (commands that wait) reserves its bytes
here, so that one bound holds for all. take_back() takes readings out for the queue in flash.
"""

WAITING = "waiting"
SENT = "sent"
DELIVERED = "delivered"
DROPPED = "dropped"

_ENTRY_BYTES = 192  # what an entry costs besides its texts, on a 32-bit board


class Entry:
    """One message on its way."""

    def __init__(self, path, payload, on_end, kept=False):
        self.path = path
        self.payload = payload
        self.kept = kept
        self.state = WAITING
        self.packet_id = 0
        self.dup = False
        self.on_end = on_end

    def size(self):
        """Return about how much memory it takes."""
        return _ENTRY_BYTES + len(self.path) + len(self.payload)

    def end(self, state):
        """Leave the outbox; tell who waits."""
        self.state = state
        self.payload = None  # who remembers the entry does not keep its bytes
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
        self._entries = []
        self._bytes = 0
        self._reserved = 0

    def __len__(self):
        return len(self._entries)

    def put(self, path, payload, on_end=None, kept=False):
        """Return the new entry; it is DROPPED at once when nothing can make room for it."""
        entry = Entry(path, payload, on_end, kept)
        while self._is_full(entry.size()) and self._drop_oldest():
            pass
        if self._is_full(entry.size()):
            self.dropped += 1
            entry.end(DROPPED)
            return entry
        self._entries.append(entry)
        self._bytes += entry.size()
        return entry

    def has_room(self, size, share=1):
        """Return whether an entry of so many bytes fits into the first 1/share of the bounds."""
        if not self._entries and not self._reserved:
            return size + _ENTRY_BYTES <= self._limit_bytes
        return (
            len(self._entries) < self._limit // share
            and self._bytes + self._reserved + size + _ENTRY_BYTES <= self._limit_bytes // share
        )

    def reserve(self, size):
        """Take room for bytes that are kept elsewhere, up to half of all; return False without."""
        reserved = self._reserved + size
        if self._reserved and reserved > self._limit_bytes // 2:
            return False
        if self._bytes + reserved > self._limit_bytes:
            return False
        self._reserved += size
        return True

    def release(self, size):
        """Give reserved room back."""
        self._reserved -= size

    def take_back(self, with_sent):
        """Take out and return the readings that nobody waits for, in their order.

        Those that were sent only if asked for: they go out again under another packet id then.
        """
        taken = [
            e for e in self._entries if e.on_end is None and (with_sent or not e.packet_id)
        ]
        for entry in taken:
            self._remove(entry)
        return taken

    def take_unsent(self):
        """Return the next entry to send, now SENT, or None: nothing waits or the window is full."""
        sent = 0
        for entry in self._entries:
            if entry.state == SENT:
                sent += 1
            if sent >= self._window:
                return None
            if entry.state == WAITING:
                entry.packet_id = entry.packet_id or self._new_packet_id()
                entry.state = SENT
                return entry
        return None

    def acknowledge(self, packet_id):
        """Take out the entry that a PUBACK names; return whether there was one."""
        for entry in self._entries:
            if entry.state == SENT and entry.packet_id == packet_id:
                self._remove(entry)
                self.delivered += 1
                entry.end(DELIVERED)
                return True
        return False

    def has_sent(self):
        """Return whether a PUBACK is owed to us."""
        return any(entry.state == SENT for entry in self._entries)

    def reconnected(self, session_present):
        """Send again what was not acknowledged; DUP only if the broker kept our session."""
        for entry in self._entries:  # [MQTT-4.4.0-1], [MQTT-4.6.0-1]
            if entry.packet_id:
                entry.state = WAITING
                entry.dup = session_present

    def _is_full(self, size):
        used = self._bytes + self._reserved
        return len(self._entries) >= self._limit or used + size > self._limit_bytes

    def _drop_oldest(self):
        for entry in self._entries:
            if not entry.packet_id and not entry.kept:
                self._remove(entry)
                self.dropped += 1
                entry.end(DROPPED)
                return True
        return False

    def _remove(self, entry):
        self._entries.remove(entry)
        self._bytes -= entry.size()

    def _new_packet_id(self):
        used = [entry.packet_id for entry in self._entries]
        while True:
            self._packet_id = self._packet_id % self._last_packet_id + 1
            if self._packet_id not in used:
                return self._packet_id
