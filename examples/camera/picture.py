"""Draws the pictures of a camera that is not there: PNG, with the standard library only."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY_8 = struct.pack(">BBBBB", 8, 0, 0, 0, 0)  # bit depth, colour type, methods


def draw(number: int, width: int, height: int) -> bytes:
    """Return picture number N: a bright bar that walks over a gradient."""
    bar = range(number % 16 * width // 16, (number % 16 + 1) * width // 16)
    row = bytes(255 if x in bar else x * 200 // width for x in range(width))
    # each line begins with its filter; 0 is none
    lines = b"".join(
        b"\0" + bytes(row[(x + y) % width] for x in range(width)) for y in range(height)
    )
    header = struct.pack(">II", width, height) + GRAY_8
    # level 0: as large as what a real camera sends
    return SIGNATURE + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines, 0)), chunk(b"IEND", b""))
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
