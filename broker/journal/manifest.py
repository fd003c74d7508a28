"""Lists the segments, so that the start notices one that is gone or was emptied.

The file has two slots that are written in turn: a write that a power cut tears leaves the other
slot. The list serves the report only; without it the segments are read as they are.
"""

from struct import Struct
from typing import NamedTuple
from zlib import crc32

NAME = "manifest"
SLOT_BYTES = 512  # a sector: a write to one slot does not touch the other
SIZE = 2 * SLOT_BYTES

_MAGIC = b"hecate manifest1"
_FIELDS = Struct(">16sQIIQ")
_CHECKSUM = Struct(">I")


class SegmentManifest(NamedTuple):
    """The segments of a log, oldest to newest; all between them are needed."""

    serial: int
    first: int
    last: int
    end_bytes: int = 0  # the length of the newest; 0 while the journal runs

    def includes(self, number: int) -> bool:
        """Return whether a segment was there, with its head."""
        return self.first <= number <= self.last


def encode_slot(manifest: SegmentManifest) -> tuple[bytes, int]:
    """Return the bytes of a slot, and where in the file they go."""
    fields = _FIELDS.pack(_MAGIC, *manifest)
    return fields + _CHECKSUM.pack(crc32(fields)), manifest.serial % 2 * SLOT_BYTES


def decode_manifest(buffer: bytes) -> SegmentManifest | None:
    """Return the newest whole slot, None when there is none."""
    found = [each for at in (0, SLOT_BYTES) if (each := _decode_slot(buffer, at))]
    return max(found, default=None)


def _decode_slot(buffer: bytes, at: int) -> SegmentManifest | None:
    end = at + _FIELDS.size
    if end + _CHECKSUM.size > len(buffer):
        return None
    fields = buffer[at:end]
    if _CHECKSUM.unpack_from(buffer, end)[0] != crc32(fields) or not fields.startswith(_MAGIC):
        return None
    return SegmentManifest(*_FIELDS.unpack(fields)[1:])
