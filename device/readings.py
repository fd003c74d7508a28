"""Decides where a reading waits: in the outbox, or in the queue that lies in flash.

While the link is up and little waits, readings go into the outbox and the flash is left alone.
They go into the queue when half of the outbox is full, when the link has been down for some
seconds, when no time is known to date them by, and as long as older ones are in the queue: so
they arrive in their order, and an old one never takes the place of a newer one. A reading taken
before the time was known is dated when it leaves the queue.

flash_queue.py is in memory only while something is in the queue.
"""

import os
import time

from device.contract import dated
from device.flash import load
from micropython import const

_GRACE_MS = const(2000)  # a link that is back by then costs no write to the flash
_TIME_WAIT_MS = const(3000)  # for the time, after the link came up; it may never be told
_SHARE = const(2)  # readings fill 1/2 of the outbox; the rest is for commands and replies
_DIRECTORY = const("queue")


class Readings:
    """The readings of a device on their way into the outbox."""

    def __init__(self, outbox, queue_bytes, clock, wake):
        self.run_number = 0  # of this run of the program; the same for none of the last ones
        self._outbox = outbox
        self._queue_bytes = queue_bytes
        self._clock = clock
        self._wake = wake  # called when the outbox may have got something to send
        self._module = self._queue = None  # flash_queue.py and its queue, when there is one
        self._lost = 0  # readings that earlier queues dropped
        self._held = None  # taken from a segment, and waiting for room
        self._is_up = False
        self._since = time.ticks_ms()
        try:
            if os.listdir(_DIRECTORY):
                self._open()
        except OSError:  # there is none
            pass

    @property
    def dropped(self):
        """The readings that were dropped since the start."""
        queue = self._queue
        return self._outbox.dropped + self._lost + (queue.dropped if queue else 0)

    def put(self, path, payload, at):
        """Take a reading; at is None when the time is not known."""
        if (
            at is not None
            and self._is_empty()
            and (self._is_up or not self._is_for(_GRACE_MS))
            and self._outbox.has_room(len(path) + len(payload), _SHARE)
        ):
            self._outbox.put(path, dated(payload, at))
        else:
            queue = self._open()
            uptime = self._clock.uptime_s()
            record = self._module.encode_record(path, payload, at, uptime, self.run_number)
            if queue.put(record):
                if queue.is_in_memory_only():
                    self._spill(not self._is_up)
                queue.flush()
        self._wake()

    def __len__(self):
        """Return the number of readings that wait; those that are stored count as one."""
        return len(self._outbox) + (not self._is_empty())

    def note_link(self, is_up):
        """Note that the link came up or went down."""
        if is_up != self._is_up:
            self._is_up = is_up
            self._since = time.ticks_ms()

    def refill(self):
        """Move readings from the queue to the outbox while there is room."""
        queue = self._queue
        if queue is None or (self._clock.now() is None and not self._is_for(_TIME_WAIT_MS)):
            return
        while self._outbox.has_room(0, _SHARE):
            taken = self._held or queue.take()
            if taken is None:
                if queue.is_done():
                    self._close()
                return
            date = self._module.dated_body
            path, payload = date(taken[0], self._clock, self.run_number, queue)
            if not self._outbox.has_room(len(path) + len(payload), _SHARE):
                self._held = taken
                return
            self._held = None
            self._send_stored(path, payload, queue, taken[1])

    def _send_stored(self, path, payload, queue, number):
        # a method, so that each lambda has a number of its own
        if number is None:
            self._outbox.put(path, payload)
        else:
            self._outbox.put(path, payload, lambda: queue.done(number), True)

    def check(self):
        """Bring what waits into the flash while the link is down; to be called each second."""
        if self._is_up:
            self._wake()
        elif self._is_for(_GRACE_MS) and (self._queue or self._outbox.has_readings()):
            queue = self._open()
            self._spill(True)
            queue.flush()

    def _open(self):
        if self._queue is None:
            self._module = load("flash_queue")
            self._queue = self._module.FlashQueue(self._queue_bytes, _DIRECTORY)
        return self._queue

    def _close(self):
        self._lost += self._queue.dropped
        self._queue = self._module = None

    def _is_empty(self):
        return self._held is None and (self._queue is None or self._queue.is_empty())

    def _spill(self, with_sent):
        """Move readings from the outbox to the queue; they are older than those in its memory."""
        records = []
        uptime = self._clock.uptime_s()
        encode = self._module.encode_record
        for entry in self._outbox.take_back(with_sent):
            records.append(encode(entry.path, entry.payload, 1, uptime, self.run_number))
        self._queue.put_first(records)

    def _is_for(self, limit_ms):
        return time.ticks_diff(time.ticks_ms(), self._since) >= limit_ms
