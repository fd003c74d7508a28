"""Reads the headers of tars from strangers: ustar, pax, GNU and the older form of version 7.

A library that follows extended headers reads as many bytes into memory as a header says, recurses
for consecutive ones, and keeps an object for every member. This reader bounds each, keeps nothing
but what a caller keeps, and refuses what no builder of images writes: sparse files, members of
unknown types, sizes that pax headers make negative. POSIX.1-2017, pax, has the formats.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from gateway.services.errors import ImageError, ImageSizeError
from gateway.services.images.archives.extent import Extent
from gateway.services.images.limits import ImageLimits

BLOCK_BYTES = 512
EXTENDED_LIMIT_BYTES = 16 * 1024  # long names, times, extended attributes
EXTENDED_IN_A_ROW = 4  # a long name, a long link, pax for one and for all

_CHECKSUM = slice(148, 156)
_PAX_ONE, _PAX_ALL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_EXTENDED = frozenset({_PAX_ONE, _PAX_ALL, _LONG_NAME, _LONG_LINK})


class MemberKind(Enum):
    """The kinds of members."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    HARD_LINK = "hard link"
    DEVICE = "device"


_KINDS = {
    b"0": MemberKind.FILE,
    b"\0": MemberKind.FILE,
    b"7": MemberKind.FILE,  # contiguous
    b"1": MemberKind.HARD_LINK,
    b"2": MemberKind.SYMLINK,
    b"3": MemberKind.DEVICE,
    b"4": MemberKind.DEVICE,
    b"5": MemberKind.FOLDER,
    b"6": MemberKind.DEVICE,  # FIFO
}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a tar."""

    name: str  # as written; surrogates stand for bytes that are not UTF-8
    kind: MemberKind
    link: str  # the target of a link
    content: Extent


def read_members(tar: Extent, limits: ImageLimits) -> Iterator[Member]:
    """Yield the members of a tar in their order.

    Raises:
        ImageError: it is no tar, is cut off, or has members that nobody needs.
        ImageSizeError: it holds more than the limits allow.
    """
    position = count = in_a_row = 0
    overrides: dict[str, str] = {}
    while position < tar.size:
        header = tar.read_at(position, BLOCK_BYTES)
        if not header.strip(b"\0"):
            break  # two empty blocks end a tar; one is enough for us
        _check_header(header)
        position += BLOCK_BYTES
        kind, size = header[156:157], _number(header[124:136])
        if kind in _EXTENDED:
            in_a_row += 1
            if in_a_row > EXTENDED_IN_A_ROW or size > EXTENDED_LIMIT_BYTES:
                raise ImageSizeError(f"cannot read image: an extended header of {size} bytes")
            overrides |= _read_extended(kind, tar.part(position, size))
        else:
            member = _member(header, tar, position, overrides)
            size = member.content.size
            overrides, in_a_row, count = {}, 0, count + 1
            if count > limits.files:
                raise ImageSizeError(f"cannot read image: more than {limits.files} files in a tar")
            yield member
        position += -(-size // BLOCK_BYTES) * BLOCK_BYTES
    if overrides:
        raise ImageError("cannot read image: not a whole tar (cut off)")
    if count == 0:
        raise ImageError("cannot read image: not a tar, or an empty one")


def _check_header(header: bytes) -> None:
    if len(header) < BLOCK_BYTES:
        raise ImageError("cannot read image: not a whole tar (cut off)")
    blank = header[: _CHECKSUM.start] + b" " * 8 + header[_CHECKSUM.stop :]
    stated = header[_CHECKSUM].strip(b" \0")
    try:
        if int(stated, 8) == sum(blank):
            return
    except ValueError:
        pass
    raise ImageError("cannot read image: not a tar (bad header)")


def _member(header: bytes, tar: Extent, position: int, overrides: dict[str, str]) -> Member:
    name = overrides.get("path", _plain_name(header))
    kind = _KINDS.get(header[156:157])
    if kind is None:
        raise ImageError(
            f"cannot read image: {name!r:.80} is of type {header[156:157]!r}, "
            "such as a sparse file; pack it with plain files"
        )
    if kind is MemberKind.FILE and header[156:157] == b"\0" and name.endswith("/"):
        kind = MemberKind.FOLDER  # version 7 has no other sign
    size = 0  # links and folders have no content, whatever their header says
    if kind is MemberKind.FILE:
        size = _size(overrides["size"]) if "size" in overrides else _number(header[124:136])
    link = overrides.get("linkpath", _text(header[157:257]))
    try:
        content = tar.part(position, size)
    except ImageError as exc:
        raise ImageError(f"cannot read image: {name!r:.80} is cut off") from exc
    return Member(name, kind, link, content)


def _plain_name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _read_extended(kind: bytes, content: Extent) -> dict[str, str]:
    data = content.read_at(0, content.size)
    if kind == _LONG_NAME:
        return {"path": _text(data)}
    if kind == _LONG_LINK:
        return {"linkpath": _text(data)}
    found = {}
    for key, value in _pax_records(data):
        if key.startswith("GNU.sparse."):
            raise ImageError("cannot read image: it holds a sparse file; pack it with plain files")
        if key in ("path", "linkpath", "size"):
            found[key] = value
    if found and kind == _PAX_ALL:
        raise ImageError(f"cannot read image: a header for all members sets their {min(found)}")
    return found


def _pax_records(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the lines "<length> <key>=<value>"; the length is that of the whole line."""
    while data.strip(b"\0"):
        digits, space, _ = data[:20].partition(b" ")
        if not space or not digits.isdigit() or not len(digits) + 3 < int(digits) <= len(data):
            raise ImageError("cannot read image: not a tar (bad extended header)")
        record, data = data[: int(digits)], data[int(digits) :]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or not record.endswith(b"\n"):
            raise ImageError("cannot read image: not a tar (bad extended header)")
        yield key.decode(errors="surrogateescape"), value.decode(errors="surrogateescape")


def _number(field: bytes) -> int:
    """Return a number in octal, or in base 256 as GNU tar writes large ones."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0") or b"0"
    if not digits.isdigit():  # int() would take signs and underscores
        raise ImageError("cannot read image: not a tar (bad size)")
    try:
        return int(digits, 8)
    except ValueError as exc:
        raise ImageError("cannot read image: not a tar (bad size)") from exc


def _size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ImageError("cannot read image: not a tar (bad size)")
    return int(text)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="surrogateescape")
