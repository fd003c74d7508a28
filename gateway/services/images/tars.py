"""Checks tars from strangers before a library reads them.

A library that follows extended headers reads as many bytes into memory as a header says, and
keeps an object for every member. Both are bounded here first, by looking at the 512-byte headers
(POSIX.1-1988 ustar) alone. Extended headers can also replace a member's size, even by a negative
one; list_members() adds up what the library made of them.
"""

import hashlib
import tarfile
from dataclasses import dataclass
from typing import IO

from gateway.services.errors import ImageError, ImageSizeError

MIB = 1024 * 1024
BLOCK_BYTES = 512
CHUNK_BYTES = 64 * 1024
EXTENDED_LIMIT_BYTES = 16 * 1024  # long names, times; nothing of ours needs more

_FILES = b"0\0005"  # regular, old regular (NUL), directory
_EXTENDED = b"xgLK"  # pax for one, pax for all, GNU long name, GNU long link


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The limits of an image's size."""

    upload_bytes: int = 64 * MIB
    content_bytes: int = 128 * MIB
    files: int = 2000
    layers: int = 64


DEFAULT_LIMITS = ImageLimits()


def check_headers(source: IO[bytes], limits: ImageLimits) -> None:
    """Return, at the start of the tar, if a library may read it.

    Raises:
        ImageError: it holds a link or a device, is cut off, or is not a tar.
        ImageSizeError: it holds more than the limits allow.
    """
    end = source.seek(0, 2)
    offset = members = 0
    while offset < end:
        source.seek(offset)
        header = source.read(BLOCK_BYTES)
        if not header.strip(b"\0"):
            break  # two empty blocks end a tar; one is enough for us
        kind, size = _kind_and_size(header)
        members += 1
        offset += BLOCK_BYTES + -(-size // BLOCK_BYTES) * BLOCK_BYTES
        if members > limits.files:
            raise ImageSizeError(f"cannot read image: more than {limits.files} files in a tar")
        if kind in _EXTENDED and size > EXTENDED_LIMIT_BYTES:
            raise ImageSizeError(f"cannot read image: a header of {size} bytes")
        if offset > end:
            raise ImageError("cannot read image: not a whole tar (cut off)")
    if members == 0:
        raise ImageError("cannot read image: not a tar, or an empty one")
    source.seek(0)


def list_members(tar: tarfile.TarFile, limits: ImageLimits) -> dict[str, tarfile.TarInfo]:
    """Return the members by name; the last of a name wins."""
    members: dict[str, tarfile.TarInfo] = {}
    total = 0
    for count, info in enumerate(tar, 1):  # lazy: a tar that never ends is left here
        total += info.size
        if info.size < 0 or total > limits.content_bytes or count > limits.files:
            raise ImageSizeError(
                f"cannot read image: more than {limits.files} files "
                f"or {limits.content_bytes} bytes in a tar"
            )
        members[info.name] = info
    return members


def digest_of(source: IO[bytes], limit_bytes: int) -> tuple[str, int]:
    """Return sha256:… and size of a file; ImageSizeError beyond the limit."""
    source.seek(0)
    total, digest = 0, hashlib.sha256()
    while chunk := source.read(CHUNK_BYTES):
        total += len(chunk)
        if total > limit_bytes:
            raise ImageSizeError(f"cannot read image: more than {limit_bytes} bytes")
        digest.update(chunk)
    source.seek(0)
    return f"sha256:{digest.hexdigest()}", total


def _kind_and_size(header: bytes) -> tuple[bytes, int]:
    if len(header) < BLOCK_BYTES:
        raise ImageError("cannot read image: not a whole tar (cut off)")
    if header[257:262] != b"ustar":
        raise ImageError("cannot read image: not a tar")
    kind, size = header[156:157], header[124:136].strip(b" \0")
    if kind not in _FILES + _EXTENDED:
        raise ImageError("cannot read image: it holds a link or a device")
    try:
        return kind, int(size or b"0", 8)
    except ValueError as exc:
        raise ImageError("cannot read image: not a tar (bad header)") from exc
