"""Describes a part of a file, so that nested archives are read in place.

A layer in a tar is an extent of the upload, a file in that layer an extent of the same upload.
Nothing is copied, except what is compressed: it goes to the scratch file, once.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from gateway.services.errors import ImageError, ImageSizeError

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes in a file; a reader must be the file's only user meanwhile."""

    file: IO[bytes]
    offset: int
    size: int

    def part(self, offset: int, size: int) -> "Extent":
        """Return an extent within this one."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ImageError("cannot read image: it is cut off")
        return Extent(self.file, self.offset + offset, size)

    def read_at(self, offset: int, count: int) -> bytes:
        """Return at most count bytes from an offset; fewer only at the end."""
        self.file.seek(self.offset + offset)
        return self.file.read(max(0, min(count, self.size - offset)))

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes; others may use the file between two chunks."""
        position = 0
        while position < self.size:
            chunk = self.read_at(position, CHUNK_BYTES)
            if not chunk:
                raise ImageError("cannot read image: it is cut off")
            position += len(chunk)
            yield chunk

    def sha256(self) -> str:
        """Return the SHA-256 of the bytes, in hexadecimal."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()


class Scratch:
    """A file that decompressed parts are appended to, within a bound on all of them together."""

    def __init__(self, file: IO[bytes], limit_bytes: int) -> None:
        self._file, self._limit_bytes = file, limit_bytes
        self._end = file.seek(0, 2)

    def append(self, chunks: Iterator[bytes]) -> Extent:
        """Return the extent that holds these chunks."""
        start = self._end
        for chunk in chunks:
            if self._end + len(chunk) > self._limit_bytes:
                raise ImageSizeError(
                    f"cannot read image: more than {self._limit_bytes} bytes when decompressed"
                )
            self._file.seek(self._end)
            self._file.write(chunk)
            self._end += len(chunk)
        return Extent(self._file, start, self._end - start)
