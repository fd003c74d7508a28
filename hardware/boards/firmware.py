"""Reads the head of a firmware image: its chip and its address. Pure.

The head of an image for Espressif's chips is eight bytes (magic, segments, mode, size and
frequency, entry point) and an extended header whose bytes 4 and 5 hold the chip's number ("Firmware
Image Format" in the esptool documentation). The ROM of each chip begins at an address of its own.
"""

from dataclasses import dataclass

from hardware.boards.errors import BoardError

MAGIC, UF2_MAGIC = b"\xe9", b"UF2\n"
HEAD_BYTES = 24
_CHIP_AT = slice(12, 14)
_CHIPS = {  # number: (name, address of the first byte)
    0: ("ESP32", 0x1000),
    2: ("ESP32-S2", 0x1000),
    5: ("ESP32-C3", 0),
    9: ("ESP32-S3", 0),
    12: ("ESP32-C2", 0),
    13: ("ESP32-C6", 0),
    16: ("ESP32-H2", 0),
    18: ("ESP32-P4", 0x2000),
    20: ("ESP32-C61", 0),
    23: ("ESP32-C5", 0x2000),
}


@dataclass(frozen=True, slots=True)
class Firmware:
    """The chip that an image is for, and the address it is written to."""

    chip: str
    address: int


def read_firmware(head: bytes, name: str) -> Firmware:
    """Return the chip and the address of an image; BoardError when it is none for these chips."""
    if head.startswith(UF2_MAGIC):
        raise BoardError(
            f"cannot flash {name}: a .uf2 file is not written over a serial port; hold BOOTSEL "
            "while you plug the board in, then copy the file to the drive that appears"
        )
    if len(head) < HEAD_BYTES or not head.startswith(MAGIC):
        raise BoardError(f"cannot flash {name}: it is no firmware image for an ESP32")
    number = int.from_bytes(head[_CHIP_AT], "little")
    if number not in _CHIPS:
        raise BoardError(f"cannot flash {name}: it is for a chip with the unknown number {number}")
    return Firmware(*_CHIPS[number])
