"""Queues readings in flash: few large segments, so that an outage or a reset loses none of them.

A segment is a file of records; one is appended to, in steps of some hundred bytes (LittleFS copies
a block for each), and a full one is closed. Reading begins at the oldest. A segment is removed when
all of it has been delivered; after a power cut before that, its readings go out again. The oldest
segment makes room when the limit is reached, and its records are counted as dropped. A segment of
an earlier run is never appended to: a power cut may have torn its last record, which ends it.

    record: length of body (2 bytes), CRC-32 of body (4), body
    body:   unix seconds, 0 or DATED (4), uptime in seconds (4), number of the run (2),
            length of path (1), path, payload                       little endian
"""

import binascii
import os

from device.contract import dated
from micropython import const

DATED = 1  # for the time of a record: the payload has it, or never gets one

_SEGMENTS = const(8)
_MOST_SEGMENTS = const(32)  # small ones come from short outages
_LEAST_SEGMENT = const(4096)
_STEP_BYTES = const(1024)  # in memory until so many have come, or flush()
_TAIL_LIMIT = const(4096)  # in memory at most, when the flash takes none
_HEAD = const(6)
_BODY_HEAD = const(11)
_BODY_LIMIT = const(4608)  # a reading fits into one packet; a longer one is spoiled
_RUNS = const(20)  # earlier ones whose readings can be dated


class FlashQueue:
    """Records, first in first out; the newest are in memory until flush()."""

    def __init__(self, limit_bytes, directory="queue"):
        self.dropped = 0
        self.errors = 0
        self._directory = directory
        self._limit = limit_bytes
        self._segment_bytes = max(_LEAST_SEGMENT, limit_bytes // _SEGMENTS)  # at most
        self._tail = []
        self._tail_bytes = 0
        self._sizes = self._existing()  # in bytes, by number
        self._numbers = sorted(self._sizes)  # of segments not read to their end
        self._next = self._numbers[-1] + 1 if self._numbers else 1
        self._writing = None  # number of the segment that is appended to
        self._written = 0
        self._file = None  # of the oldest segment, while it is read
        self._lengths = {}  # in seconds, of earlier runs
        self._unfinished = {}  # number: its records taken and not yet delivered

    def is_empty(self):
        """Return whether nothing waits to be taken."""
        return not self._numbers and not self._tail

    def is_in_memory_only(self):
        """Return whether no segment waits to be taken."""
        return not self._numbers

    def is_done(self):
        """Return whether nothing waits, and all that was taken has been delivered."""
        return not self._numbers and not self._tail and not self._unfinished

    def put(self, record):
        """Append an encoded record; return whether it is time for flush()."""
        self._tail.append(record)
        self._tail_bytes += len(record)
        return self._tail_bytes >= _STEP_BYTES

    def put_first(self, records):
        """Put records before those in memory, which are newer."""
        self._tail[:0] = records
        self._tail_bytes += sum(len(record) for record in records)

    def take(self):
        """Return (body, number of its segment or None), or None when nothing waits."""
        while self._numbers:
            number = self._numbers[0]
            if number == self._writing:
                self._writing = None
            body = self._read(number)
            if body is not None:
                self._unfinished[number] = self._unfinished.get(number, 0) + 1
                return body, number
            self._numbers.pop(0)
            self._close()
            self._remove_if_done(number)
        if not self._tail:
            return None
        record = self._tail.pop(0)
        self._tail_bytes -= len(record)
        return record[_HEAD:], None

    def done(self, number):
        """Note that a record of a segment has been delivered."""
        if number in self._unfinished:
            self._unfinished[number] -= 1
            self._remove_if_done(number)

    def length_of(self, run):
        """Return the uptime in the last record of a run that has ended, or 0."""
        if run not in self._lengths:
            numbers = [n for n in self._numbers if self._first_run(n) == run]
            self._lengths[run] = self._last_uptime(numbers[-1]) if numbers else 0
        return self._lengths[run]

    def _first_run(self, number):
        try:
            with open(self._path(number), "rb") as file:
                head = file.read(_HEAD + _BODY_HEAD)
        except OSError:
            return None
        return int.from_bytes(head[_HEAD + 8 : _HEAD + 10], "little")

    def _last_uptime(self, number):
        uptime = 0
        try:
            with open(self._path(number), "rb") as file:
                while True:
                    head = file.read(_HEAD + _BODY_HEAD)
                    if len(head) < _HEAD + _BODY_HEAD:
                        return uptime
                    uptime = int.from_bytes(head[_HEAD + 4 : _HEAD + 8], "little")
                    file.seek(int.from_bytes(head[:2], "little") - _BODY_HEAD, 1)
        except OSError:
            return uptime

    def flush(self):
        """Write what is in memory to the flash."""
        if not self._tail:
            return
        try:
            if not self._limit:
                raise OSError("queue_bytes is 0")
            with open(self._path(self._segment()), "ab") as file:
                for record in self._tail:
                    file.write(record)
        except OSError:
            self.errors += 1 if self._limit else 0
            self._writing = None
            if len(self._numbers) > 1:
                self._drop_oldest()
            while self._tail_bytes > _TAIL_LIMIT:
                self._tail_bytes -= len(self._tail.pop(0))
                self.dropped += 1
            return
        self._written += self._tail_bytes
        self._sizes[self._writing] = self._written
        self._tail = []
        self._tail_bytes = 0

    def _segment(self):
        """Return the number of the segment to append to."""
        if self._writing is None or self._written + self._tail_bytes > self._segment_bytes:
            if not self._numbers:
                self._make_directory()
            while self._numbers and self._is_full():
                self._drop_oldest()
            self._writing, self._written = self._next, 0
            self._next += 1
            self._numbers.append(self._writing)
        return self._writing

    def _is_full(self):
        used = sum(self._sizes.values()) + self._segment_bytes
        return used > self._limit or len(self._sizes) >= _MOST_SEGMENTS

    def _drop_oldest(self):
        number = self._numbers[0]
        while self._read(number) is not None:
            self.dropped += 1
        self._close()
        self._numbers.pop(0)
        self._unfinished.pop(number, None)
        self._remove(number)

    def _read(self, number):
        """Return the next body of the oldest segment, or None at its end."""
        try:
            if self._file is None:
                self._file = open(self._path(number), "rb")
            head = self._file.read(_HEAD)
            if len(head) < _HEAD:
                return None
            length = int.from_bytes(head[:2], "little")
            body = self._file.read(length) if length <= _BODY_LIMIT else b""
        except OSError:
            self.errors += 1
            return None
        is_whole = len(body) == length > _BODY_HEAD
        if not is_whole or binascii.crc32(body) != int.from_bytes(head[2:], "little"):
            return None
        return body

    def _remove_if_done(self, number):
        if number not in self._numbers and not self._unfinished.get(number):
            self._unfinished.pop(number, None)
            self._remove(number)

    def _remove(self, number):
        self._sizes.pop(number, None)
        try:
            os.remove(self._path(number))
        except OSError:
            self.errors += 1

    def _close(self):
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _path(self, number):
        return "%s/%08d" % (self._directory, number)

    def _make_directory(self):
        try:
            os.mkdir(self._directory)
        except OSError:  # it exists, or writing fails and says why
            pass

    def _existing(self):
        try:
            names = [n for n in os.listdir(self._directory) if len(n) == 8 and n.isdigit()]
            return {int(n): os.stat("%s/%s" % (self._directory, n))[6] for n in names}
        except OSError:
            return {}


def encode_record(path, payload, at, uptime, run):
    """Return a record; at is None for a reading that is not dated yet."""
    body = b"".join(
        (
            (at or 0).to_bytes(4, "little"),
            uptime.to_bytes(4, "little"),
            run.to_bytes(2, "little"),
            bytes((len(path),)),
            path.encode(),
            payload,
        )
    )
    head = len(body).to_bytes(2, "little") + binascii.crc32(body).to_bytes(4, "little")
    return head + body


def dated_body(body, clock, run_number, queue):
    """Return (path, payload) of a record; the payload has its time, if that can be known.

    A record of an earlier run without a time was taken before this run began, and before what
    followed it in its own: that gives the latest time possible, which is marked as estimated.
    """
    path, payload, at, uptime, run = decode_body(body)
    if at == DATED:
        return path, payload
    if at is None and clock.now() is not None:
        started = clock.now() - clock.uptime_s()
        if run == run_number:
            at = started + uptime
        elif 0 < run_number - run <= _RUNS:
            for number in range(run_number - 1, run - 1, -1):
                started -= queue.length_of(number)
            payload = payload[:-1] + b', "estimated": true}'
            at = started + uptime
    return path, payload if at is None else dated(payload, at)


def decode_body(body):
    """Return (path, payload, at or None, uptime, run)."""
    path_end = _BODY_HEAD + body[10]
    return (
        body[_BODY_HEAD:path_end].decode(),
        body[path_end:],
        int.from_bytes(body[:4], "little") or None,
        int.from_bytes(body[4:8], "little"),
        int.from_bytes(body[8:10], "little"),
    )
