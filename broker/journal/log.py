"""Reads the segments on the disk once; then appends, rotates and removes them, in one thread.

Rules that hold after every call, also one that raised OSError:

1. Batches stand one behind the other; what a failed call left is overwritten or wiped.
2. A segment is made, and known to its directory, before anything in it counts as stored.
3. Segments go oldest first, each known to be gone before the next: a removed Acknowledged must
   not leave a Stored behind.
4. From the first write on there is a spare segment that only urgent writes (removals, copies) may
   take, so that a full disk can be emptied: each segment that is cleaned is the next spare.
"""

import contextlib
import errno
import logging
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from broker.journal import manifest
from broker.journal.disk import Disk
from broker.journal.errors import JournalError
from broker.journal.manifest import SegmentManifest, decode_manifest, encode_slot
from broker.journal.open_report import OpenReport
from broker.journal.record_codec import decode_records, encode_records
from broker.journal.records import SegmentEnded
from broker.journal.segments import (
    BATCH_OVERHEAD_BYTES,
    HEAD,
    MARKER_BYTES,
    VERSION,
    Damage,
    SegmentName,
    encode_batch,
    measure_batch,
    measure_used,
    parse_name,
    read_segment,
    read_version,
    was_begun,
)
from broker.journal.state import JournalState

logger = logging.getLogger(__name__)

END_BYTES = 64  # the maximum size of SegmentEnded
SPARE = "spare-"  # a segment that is no longer needed: written blocks cost least to write again
SPARES = 4  # segments become superfluous a few at a time
SHORTEN_BYTES = 65_536  # less room is not worth a change of the file
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(slots=True)
class _Segment:
    name: SegmentName
    size: int
    is_whole: bool  # the file is as long as a new segment
    used: int = 0  # of its size, of one that was read


class SegmentLog:
    """Appends batches; any method may raise OSError, read() also JournalError."""

    def __init__(self, disk: Disk, directory: Path, segment_bytes: int, *, synced: bool) -> None:
        self._disk = disk
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._is_synced = synced
        self._spares: list[str] = []
        self._old: deque[_Segment] = deque()
        self._current: _Segment | None = None  # its size is how far it is written
        self._last_number = 0
        self._file = -1
        self._capacity = 0
        self._serial = 0
        self._synced = 0
        self._manifest: SegmentManifest | None = None
        self._manifest_file = -1
        self._before: SegmentEnded | None = None  # the end of the last segment, for the next write
        self._ends: dict[int, int] = {}  # by segment, as told while they are read
        self.written_bytes = 0

    @property
    def number(self) -> int:
        """Return the number of the segment that was written last."""
        return self._last_number

    @property
    def oldest(self) -> SegmentName | None:
        """Return the oldest segment that is no longer written to."""
        return self._old[0].name if self._old else None

    @property
    def segments(self) -> int:
        """Return how many there are."""
        return len(self._old) + (self._current is not None)

    @property
    def size_bytes(self) -> int:
        """Return how much all segments take."""
        current = self._current.size if self._current is not None else 0
        return sum(segment.size for segment in self._old) + current

    def read(self, image: JournalState) -> OpenReport:
        """Put all that can be read into the image; what cannot is in the report."""
        report = OpenReport()
        files = self._disk.list(self._directory)
        self._take_spares(files)
        self._manifest = self._read_manifest(files)
        names = [name for each in files if (name := parse_name(each))]
        names.sort(key=lambda each: each.number)
        self._find_missing([each.number for each in names], report)
        for name in names:
            self._last_number = max(self._last_number, name.number)
            report.segments += 1
            try:
                buffer = self._disk.read(self._directory / str(name))
            except OSError as exc:
                lost = Damage(0, files[str(name)], f"cannot be read: {exc}")
                report.damages.append((str(name), lost))
                self._old.append(_Segment(name, 0, is_whole=False))
                continue
            if not self._includes(name) and not was_begun(buffer, name.marker):
                buffer = self._begin(name, buffer, report)
            version = read_version(buffer) or 0
            if version > VERSION and name is names[-1]:
                raise JournalError(
                    f"{name} is of a later version of Hecate (journal {version}, this one reads "
                    f"{VERSION}); start that version, or use another folder"
                )
            self._read_one(name, buffer, image, report)
        self._compare_ends(report)
        report.orphans = image.settle()
        return report

    def _read_manifest(self, files: dict[str, int]) -> SegmentManifest | None:
        if manifest.NAME not in files:
            return None
        try:
            return decode_manifest(self._disk.read(self._directory / manifest.NAME))
        except OSError:
            return None

    def _find_missing(self, numbers: list[int], report: OpenReport) -> None:
        known = self._manifest
        if known is not None:
            self._last_number = known.last
            numbers = [each for each in numbers if known.includes(each)]
            numbers = [known.first - 1, *numbers, known.last + 1]
        for before, after in pairwise(numbers):
            count = after - before - 1  # negative: a file that was removed after an error is back
            if count > 0:
                what = "the segment is missing" if count == 1 else f"{count} segments are missing"
                lost = Damage(0, count * self._segment_bytes, what)
                report.damages.append((f"{before + 1:010}-*.log", lost))

    def _compare_ends(self, report: OpenReport) -> None:
        """Find segments that were cut where a batch ends."""
        known = self._manifest
        if known is not None and known.end_bytes:
            self._ends[known.last] = known.end_bytes
        hurt = {name for name, _ in report.damages}
        for segment in self._old:
            name, end = str(segment.name), self._ends.get(segment.name.number, 0)
            if segment.used < end and name not in hurt:
                lost = Damage(segment.used, end - segment.used, "the end is missing")
                report.damages.append((name, lost))
        self._ends.clear()
        if self._old:
            last = self._old[-1]
            self._before = SegmentEnded(last.name.number, last.used)

    def read_oldest(self) -> bytes:
        """Return the bytes of the oldest segment."""
        return self._disk.read(self._directory / str(self._old[0].name))

    def write(self, groups: Sequence[bytes], *, is_urgent: bool = False) -> None:
        """Append one batch and, if the log is a synced one, wait until it is on the disk."""
        size = measure_batch(groups) + END_BYTES
        if self._current is None or self._current.size + size > self._capacity:
            self._rotate(size, is_urgent=is_urgent)
        segment = self._current
        assert segment is not None  # just made
        if self._before is not None:
            groups = (encode_records((self._before,)), *groups)
        batch = encode_batch(segment.name.marker, self._serial, self._synced, groups)
        try:
            self._disk.write(self._file, batch, segment.size)
        except OSError as exc:
            self._wipe(segment, is_broken=exc.errno not in NO_ROOM)
            raise
        if self._is_synced:
            try:
                self._disk.sync(self._file)
            except OSError:  # memory may differ from the disk for ever
                self._wipe(segment, is_broken=True)
                raise
        self._before = None
        self._serial += 1
        segment.size += len(batch)
        self.written_bytes += len(batch)
        if self._is_synced:
            self._synced = self._serial

    def remove_oldest(self) -> None:
        """Remove the oldest segment, or keep the file as a spare; nothing in it is needed."""
        if not self._is_synced and self._current is not None:
            self._disk.sync(
                self._file
            )  # the records that replace the segment must be on disk first
        oldest = self._old[0]
        self._note_segments(oldest.name.number + 1)
        path = self._directory / str(oldest.name)
        if len(self._spares) >= SPARES or not oldest.is_whole:
            self._disk.remove(path)
        else:
            spare = f"{SPARE}{oldest.name.number}"
            self._disk.rename(path, self._directory / spare)
            self._spares.append(spare)
        self._old.popleft()
        self._disk.sync_directory(self._directory)

    def close(self) -> None:
        """End the last segment."""
        if self._current is not None:
            segment = self._current
            self._end_current()
            if self._capacity - segment.size > SHORTEN_BYTES:
                self._disk.shorten(self._directory / str(segment.name), segment.size)
            self._note_segments(self._old[0].name.number, self._before)
        if self._manifest_file >= 0:
            self._disk.close(self._manifest_file)
            self._manifest_file = -1

    def _note_segments(self, first: int, ended: SegmentEnded | None = None) -> None:
        """Note which segments there are, before the oldest goes and once a new one is there."""
        known = self._manifest
        end_bytes = ended.size if ended is not None else 0
        noted = SegmentManifest(
            known.serial + 1 if known else 1, first, self._last_number, end_bytes
        )
        try:
            if self._manifest_file < 0:
                self._open_manifest()
            self._disk.write(self._manifest_file, *encode_slot(noted))
            self._disk.sync(self._manifest_file)  # or else it may be behind the removal
        except OSError as exc:  # it only serves the report
            logger.info("cannot note the segments of the journal: %s", exc)
            return
        self._manifest = noted

    def _open_manifest(self) -> None:
        path = self._directory / manifest.NAME
        if self._manifest is None and manifest.NAME in self._disk.list(self._directory):
            self._disk.remove(path)  # no slot of it can be read
        if self._manifest is not None:
            self._manifest_file = self._disk.open(path)
            return
        self._manifest_file = self._disk.create(path, manifest.SIZE)
        self._disk.sync_directory(self._directory)

    def _includes(self, name: SegmentName) -> bool:
        return self._manifest is not None and self._manifest.includes(name.number)

    def _begin(self, name: SegmentName, buffer: bytes, report: OpenReport) -> bytes:
        """Write the head that a power cut has kept from a new segment; return what is there now.

        The next segment moves the manifest beyond this one, whose head would be missed then.
        """
        try:
            file = self._disk.open(self._directory / str(name))
            try:
                self._disk.write(file, HEAD, 0)
                self._disk.sync(file)
            finally:
                self._disk.close(file)
        except OSError as exc:  # the folder may only be read
            logger.info("cannot begin segment %s: %s", name, exc)
            return buffer
        report.torn += 1
        return HEAD + buffer[len(HEAD) :]

    def _read_one(
        self, name: SegmentName, buffer: bytes, image: JournalState, report: OpenReport
    ) -> None:
        for piece in read_segment(buffer, name.marker):
            if isinstance(piece, bytes):
                try:
                    for record in decode_records(piece):
                        image.apply(record, name.number)
                        if type(record) is SegmentEnded:
                            self._ends[record.number] = record.size
                    report.groups += 1
                except JournalError as exc:  # a checksum by chance, or of a later version
                    report.damages.append((str(name), Damage(0, len(piece), str(exc))))
            elif piece.is_tail and not piece.offset and self._includes(name):  # it had a head
                lost = replace(piece, length=self._segment_bytes, is_tail=False)
                report.damages.append((str(name), lost))
            elif piece.is_tail:
                report.torn += 1
            else:
                report.damages.append((str(name), piece))
        used, size = measure_used(buffer, name.marker), len(buffer)
        report.torn += used < size < self._segment_bytes  # cut within the header of a batch
        if size - used > SHORTEN_BYTES:
            with contextlib.suppress(OSError):
                self._disk.shorten(self._directory / str(name), used)
                size = used
        self._old.append(_Segment(name, size, size == self._segment_bytes, used))

    def _take_spares(self, files: dict[str, int]) -> None:
        for name, size in files.items():
            if not name.startswith(SPARE):
                continue
            if size == self._segment_bytes:
                self._spares.append(name)
            else:
                with contextlib.suppress(OSError):
                    self._disk.remove(self._directory / name)

    def _rotate(self, size: int, *, is_urgent: bool) -> None:
        capacity = max(self._segment_bytes, len(HEAD) + size)
        name = SegmentName(self._last_number + 1, os.urandom(MARKER_BYTES))
        path = self._directory / str(name)
        if not self._spares:
            spare = f"{SPARE}0"
            self._disk.close(self._disk.create(self._directory / spare, self._segment_bytes))
            self._spares.append(spare)
        if capacity == self._segment_bytes and len(self._spares) > (0 if is_urgent else 1):
            self._disk.rename(self._directory / self._spares.pop(), path)
            file = self._disk.open(path)
        else:
            file = self._disk.create(path, capacity)
        try:
            self._disk.write(file, HEAD, 0)
            self._disk.sync(file)
            self._disk.sync_directory(self._directory)
            self._end_current()
        except OSError:
            self._disk.close(file)
            with contextlib.suppress(OSError):
                self._disk.remove(path)
            raise
        self._file, self._capacity = file, capacity
        self._current = _Segment(name, len(HEAD), capacity == self._segment_bytes)
        self._last_number = name.number
        self._serial = self._synced = 0
        self._note_segments(self._old[0].name.number if self._old else name.number)

    def _end_current(self) -> None:
        segment = self._current
        if segment is None:
            return
        self._disk.sync(self._file)
        self._before = SegmentEnded(segment.name.number, segment.size)
        # says that all of it was synced; not synced itself, for it only serves the report
        seal = encode_batch(segment.name.marker, self._serial, self._serial, ())
        with contextlib.suppress(OSError):
            self._disk.write(self._file, seal, segment.size)
            segment.size += len(seal)
        self._leave(segment)

    def _leave(self, segment: _Segment) -> None:
        self._disk.close(self._file)
        self._old.append(segment)
        self._current = None
        self._file = -1

    def _wipe(self, segment: _Segment, *, is_broken: bool) -> None:
        # best effort: what was refused must not come back after a restart
        with contextlib.suppress(OSError):
            self._disk.write(self._file, bytes(BATCH_OVERHEAD_BYTES), segment.size)
        if is_broken:
            logger.warning("journal leaves segment %s: it cannot be written", segment.name)
            self._before = SegmentEnded(segment.name.number, segment.size)
            self._leave(segment)
