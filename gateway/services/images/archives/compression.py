"""Decompresses layers and whole archives within bounds.

Builders compress with gzip or zstd, and some write many gzip members or zstd frames one after the
other, so that single files can be fetched (eStargz, zstd:chunked). A few bytes can become
gigabytes; output is bounded in bytes, by its ratio to the input, and in memory by the window.
"""

import sys
import zlib
from collections.abc import Iterable, Iterator

from gateway.services.errors import ImageError, ImageSizeError
from gateway.services.images.archives.extent import CHUNK_BYTES, Extent, Scratch

RATIO_LIMIT = 200  # text compresses to a tenth; zeros, the stuff of bombs, to a thousandth
RATIO_FROM_BYTES = 8 * 1024 * 1024  # smaller outputs may have any ratio
MEMBERS_LIMIT = 50_000  # one for each file at most
WINDOW_LOG_MAX = 24  # zstd needs 16 MiB of memory then; levels up to 19 need 8 MiB

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # the last three bytes of its magic number, little endian
_UNSUPPORTED = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"PK\x03\x04": "zip"}
_MAGIC_BYTES = 6


def decompress(source: Extent, scratch: Scratch, limit_bytes: int, what: str) -> Extent:
    """Return the decompressed bytes of an extent; the extent itself when it is not compressed.

    Raises:
        ImageSizeError: there are more than limit_bytes, or it is a bomb.
        ImageError: it is damaged, cut off or compressed in another way.
    """
    magic = source.read_at(0, _MAGIC_BYTES)
    if magic.startswith(_GZIP):
        output = _gunzip(source.chunks(), what)
    elif magic.startswith(_ZSTD) or magic[1:4] == _ZSTD_SKIPPABLE:
        output = _unzstd(source.chunks(), what)
    else:
        for start, name in _UNSUPPORTED.items():
            if magic.startswith(start):
                raise ImageError(
                    f"cannot read image: {what} is compressed with {name}; use gzip or zstd"
                )
        return source
    return scratch.append(_bounded(output, source.size, limit_bytes, what))


def _bounded(
    output: Iterator[bytes], input_bytes: int, limit_bytes: int, what: str
) -> Iterator[bytes]:
    total = 0
    for piece in output:
        total += len(piece)
        if total > limit_bytes:
            raise ImageSizeError(f"cannot read image: {what} has more than {limit_bytes} bytes")
        if total > RATIO_FROM_BYTES and total > RATIO_LIMIT * input_bytes:
            raise ImageSizeError(
                f"cannot read image: {what} becomes more than {RATIO_LIMIT} times as large"
            )
        yield piece


def _gunzip(chunks: Iterable[bytes], what: str) -> Iterator[bytes]:
    inflate = zlib.decompressobj(wbits=31)
    members = 1
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if inflate.eof:
                    if not rest.strip(b"\0"):
                        break  # padding of tapes
                    members = _count(members, what)
                    inflate = zlib.decompressobj(wbits=31)
                yield inflate.decompress(rest, CHUNK_BYTES)
                rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        while not inflate.eof and (piece := inflate.decompress(b"", CHUNK_BYTES)):
            yield piece
    except zlib.error as exc:
        raise ImageError(f"cannot read image: {what} is damaged ({exc})") from exc
    if not inflate.eof:
        raise ImageError(f"cannot read image: {what} is cut off")


def _unzstd(chunks: Iterable[bytes], what: str) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd  # few gateways get such a layer: 1 MiB of memory

    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}
    frame = zstd.ZstdDecompressor(options=options)
    frames = 1
    try:
        for chunk in chunks:
            rest, more = chunk, True
            while more:
                if frame.eof:
                    frames = _count(frames, what)
                    frame = zstd.ZstdDecompressor(options=options)
                yield frame.decompress(rest, CHUNK_BYTES)
                rest = frame.unused_data if frame.eof else b""
                more = bool(rest) if frame.eof else not frame.needs_input
    except zstd.ZstdError as exc:
        raise ImageError(f"cannot read image: {what} is damaged ({exc})") from exc
    if not frame.eof:
        raise ImageError(f"cannot read image: {what} is cut off")


def _count(members: int, what: str) -> int:
    if members >= MEMBERS_LIMIT:
        raise ImageSizeError(f"cannot read image: {what} has more than {MEMBERS_LIMIT} parts")
    return members + 1
