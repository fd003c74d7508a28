"""Decides where a reading waits: in the outbox, or in the queue that lies in flash.

While the link is up and little waits, readings go into the outbox and the flash is left alone.
They go into the queue when half of the outbox is full, when the link has been down for some
seconds, when no time is known to date them by, and as long as older ones are in the queue: so
they arrive in their order. A reading taken before the time was known is dated when it leaves the
queue, if the board has not been reset meanwhile.
"""

import asyncio
import os
import time

from device import contract
from device.flash_queue import decode_body, encode_record

_GRACE_MS = 2000  # a link that is back by then costs no write to the flash
_TIME_WAIT_MS = 3000  # for the time, after the link came up; another broker may never tell it
_LOOK_MS = 1000
_DATED = 1  # in a record: the payload has its time, or never gets one
_SHARE = 2  # readings fill 1/2 of the outbox; the rest is for commands and replies


class Readings:
    """The readings of a device on their way into the outbox."""

    def __init__(self, outbox, queue, clock, wake):
        self._outbox = outbox
        self._queue = queue
        self._clock = clock
        self._wake = wake  # called when the outbox may have got something to send
        self._held = None  # taken from a segment, and waiting for room
        self._run = int.from_bytes(os.urandom(2), "little")
        self._is_up = False
        self._since = time.ticks_ms()

    @property
    def dropped(self):
        """The readings that were dropped since the start."""
        return self._outbox.dropped + self._queue.dropped

    def put(self, path, payload, at):
        """Take a reading; at is None when the time is not known."""
        if (
            at is not None
            and self._is_empty()
            and (self._is_up or not self._is_for(_GRACE_MS))
            and self._outbox.has_room(len(path) + len(payload), _SHARE)
        ):
            self._outbox.put(path, contract.dated(payload, at))
        else:
            record = encode_record(path, payload, at, self._clock.uptime_s(), self._run)
            if self._queue.put(record):
                if self._queue.is_in_memory_only():
                    self._spill(not self._is_up)
                self._queue.flush()
        self._wake()

    def note_link(self, is_up):
        """Note that the link came up or went down."""
        if is_up != self._is_up:
            self._is_up = is_up
            self._since = time.ticks_ms()

    def refill(self):
        """Move readings from the queue to the outbox while there is room."""
        if self._clock.now() is None and not self._is_for(_TIME_WAIT_MS):
            return
        while self._outbox.has_room(0, _SHARE):
            taken = self._held or self._queue.take()
            if taken is None:
                return
            path, payload = self._dated(taken[0])
            if not self._outbox.has_room(len(path) + len(payload), _SHARE):
                self._held = taken
                return
            self._held = None
            self._send_stored(path, payload, taken[1])

    async def run(self):
        """Bring what waits into the flash while the link is down."""
        while True:
            await asyncio.sleep_ms(_LOOK_MS)
            if self._is_up:
                self._wake()
            elif self._is_for(_GRACE_MS):
                self._spill(True)
                self._queue.flush()

    def _is_empty(self):
        return self._held is None and self._queue.is_empty()

    def _dated(self, body):
        path, payload, at, uptime, run = decode_body(body)
        now = self._clock.now()
        if at is None and run == self._run and now is not None:
            at = now - self._clock.uptime_s() + uptime
        if at is None or at == _DATED:
            return path, payload
        return path, contract.dated(payload, at)

    def _send_stored(self, path, payload, number):
        if number is None:
            self._outbox.put(path, payload)
        else:
            self._outbox.put(path, payload, lambda: self._queue.done(number), kept=True)

    def _spill(self, with_sent):
        """Move readings from the outbox to the queue; they are older than those in its memory."""
        taken = self._outbox.take_back(with_sent)
        uptime = self._clock.uptime_s()
        self._queue.put_first(
            [encode_record(e.path, e.payload, _DATED, uptime, self._run) for e in taken]
        )

    def _is_for(self, limit_ms):
        return time.ticks_diff(time.ticks_ms(), self._since) >= limit_ms
