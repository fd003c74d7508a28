"""Encodes and decodes the bytes of a segment, batches of groups, also of a damaged one.

Theory of operation
-------------------
A segment is a file that only grows: a 16-byte head, then batches. A batch is what one commit
wrote: a header, then groups. A group is what one append() brought; it is applied whole or not at
all. Rules that hold for what read_segment() gives:

1. A group is given only if its checksum holds, and groups come in the order they were written.
2. A batch says how many batches before it were synced when it was written. A damage among those was
   once whole, so it is skipped and the reading goes on. Behind that point a power cut may have
   dropped any part of what was written: the reading ends at the first damage, so that nothing is
   applied without what came before it.
3. A batch begins with its segment's marker, 64 random bits that are part of the file's name. So
   reading can begin again behind a damage, and a payload cannot pretend to be a batch.
4. The checksum of a group goes on from that of its batch's header, so it holds in this batch only.
   Files are used again: where a power cut dropped the end of a batch, what the file held before
   shows, with whole groups that may begin just where one of the batch should.

Behind the last batch there may be anything. All of this is pure: bytes in, groups and damages out.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from struct import Struct
from zlib import crc32

VERSION = 3
HEAD = b"hecate journal %d" % VERSION
_HEAD = re.compile(rb"hecate journal (\d)")
OLDEST_VERSION = 2  # 3 has more kinds of records; segments of both are read side by side
MARKER_BYTES = 8

_BATCH = Struct(">8sIIII")  # marker, serial, synced, length of all groups, checksum of these
_BATCH_FIELDS = Struct(">8sIII")
_GROUP = Struct(">II")  # length, checksum
_NAME = re.compile(r"(\d{10})-([0-9a-f]{16})\.log")

BATCH_OVERHEAD_BYTES = _BATCH.size


@dataclass(frozen=True, slots=True)
class SegmentName:
    """The parts of the name of a segment's file."""

    number: int
    marker: bytes

    def __str__(self) -> str:
        return f"{self.number:010}-{self.marker.hex()}.log"


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that could not be read."""

    offset: int
    length: int
    problem: str
    is_tail: bool = False  # not synced when it was lost: nobody was told that it is safe


@dataclass(frozen=True, slots=True)
class _Batch:
    offset: int  # of its header
    end: int  # beyond the buffer when it was cut
    serial: int
    synced: int
    checksum: int  # of its header


def parse_name(name: str) -> SegmentName | None:
    """Return what a file's name says, None when it is no segment."""
    found = _NAME.fullmatch(name)
    return None if found is None else SegmentName(int(found[1]), bytes.fromhex(found[2]))


def read_version(buffer: bytes) -> int | None:
    """Return the version of a segment, None when its head is damaged."""
    found = _HEAD.match(buffer)
    return None if found is None else int(found[1])


def measure_batch(groups: Sequence[bytes]) -> int:
    """Return the size of the batch that groups make."""
    return _BATCH.size + _GROUP.size * len(groups) + sum(map(len, groups))


def encode_batch(marker: bytes, serial: int, synced: int, groups: Sequence[bytes]) -> bytes:
    """Return one batch; synced is how many of those before it are known to be on the disk."""
    length = measure_batch(groups) - _BATCH.size
    fields = _BATCH_FIELDS.pack(marker, serial, synced, length)
    checksum = crc32(fields)
    parts = [fields, checksum.to_bytes(4, "big")]
    for body in groups:
        parts += (_GROUP.pack(len(body), crc32(body, checksum)), body)
    return b"".join(parts)


def read_segment(buffer: bytes, marker: bytes) -> Iterator[bytes | Damage]:
    """Yield the bodies of all groups that may be applied, and what could not be read."""

    @cache
    def count_settled() -> int:  # goes through the whole segment, so only damage asks
        return max((batch.synced for batch in _find_batches(buffer, marker)), default=0)

    version = read_version(buffer)
    if version is None or version < OLDEST_VERSION:
        is_tail = not _has_batch(buffer, marker)  # it was made, and never used
        yield Damage(0, min(len(buffer), len(HEAD)), "head is not that of a segment", is_tail)
    at, serial = len(HEAD), 0
    for batch in _find_batches(buffer, marker):
        if batch.offset > at or batch.serial > serial:
            is_tail = batch.serial > count_settled()
            yield Damage(at, batch.offset - at, "no batch here", is_tail)
            if is_tail:
                return
        for piece in _read_groups(buffer, batch, count_settled):
            yield piece
            if isinstance(piece, Damage) and piece.is_tail:
                return
        at, serial = batch.end, batch.serial + 1


def measure_used(buffer: bytes, marker: bytes) -> int:
    """Return how many bytes are in use."""
    end = max((batch.end for batch in _find_batches(buffer, marker)), default=len(HEAD))
    return min(end, len(buffer))


def was_begun(buffer: bytes, marker: bytes) -> bool:
    """Return whether a segment was ever used: it has a head, of any version, or a batch."""
    return read_version(buffer) is not None or _has_batch(buffer, marker)


def _has_batch(buffer: bytes, marker: bytes) -> bool:
    return next(_find_batches(buffer, marker), None) is not None


def _find_batches(buffer: bytes, marker: bytes) -> Iterator[_Batch]:
    at, serial = len(HEAD), 0
    while True:
        at = buffer.find(marker, at)
        if at < 0 or at + _BATCH.size > len(buffer):
            return
        _, found, synced, length, checksum = _BATCH.unpack_from(buffer, at)
        is_whole = checksum == crc32(buffer[at : at + _BATCH_FIELDS.size])
        if is_whole and found >= serial and synced <= found:
            end = at + _BATCH.size + length
            yield _Batch(at, end, found, synced, checksum)
            at, serial = end, found + 1
        else:
            at += 1


def _read_groups(
    buffer: bytes, batch: _Batch, count_settled: Callable[[], int]
) -> Iterator[bytes | Damage]:
    at, end = batch.offset + _BATCH.size, min(batch.end, len(buffer))
    while at + _GROUP.size <= end:
        length, checksum = _GROUP.unpack_from(buffer, at)
        start = at + _GROUP.size
        if not length or start + length > end:
            break
        body = buffer[start : start + length]
        if crc32(body, batch.checksum) == checksum:
            yield body
        else:
            is_tail = batch.serial >= count_settled()
            yield Damage(at, _GROUP.size + length, "checksum of a group is wrong", is_tail)
            if is_tail:
                return
        at = start + length
    if at < batch.end:
        is_tail = batch.serial >= count_settled()
        yield Damage(at, batch.end - at, "a batch is cut or damaged", is_tail)
