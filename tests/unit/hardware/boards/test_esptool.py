import pytest

from hardware.boards.errors import BoardError
from hardware.boards.esptool import ChipIdentity, read_identity, read_progress
from hardware.boards.firmware import Firmware, read_firmware

OUTPUT = """\
esptool v5.6.0
Connected to ESP32-S3 on /dev/ttyACM0:
Chip type:          ESP32-S3 (QFN56) (revision v0.2)
Features:           Wi-Fi, BT 5 (LE), Dual Core + LP Core, 240MHz
MAC:                24:0a:c4:e2:95:26
"""


def test_the_identity_is_read_from_the_output() -> None:
    assert read_identity(OUTPUT.splitlines()) == ChipIdentity("ESP32-S3", "24:0a:c4:e2:95:26")
    assert read_identity(OUTPUT.splitlines()[:3]) is None
    assert read_identity([]) is None


@pytest.mark.parametrize(
    ("line", "share"),
    [
        ("Writing at 0x00005000 ━━━━╸       16.4% 16.00kB/97.66kB [0s] ", 0.164),
        ("Writing at 0x000196a0 ━━━━━━━━━━━ 100.0% 97.66kB/97.66kB [0s] ", 1.0),
        ("Wrote 100000 bytes at 0x00001000 in 0.3 seconds (2820.8 kbit/s).", None),
    ],
)
def test_progress(line: str, share: float | None) -> None:
    assert read_progress(line) == (None if share is None else pytest.approx(share))


def image(chip: int) -> bytes:
    return b"\xe9" + bytes(11) + chip.to_bytes(2, "little") + bytes(10)


@pytest.mark.parametrize(
    ("chip", "firmware"),
    [
        (0, Firmware("ESP32", 0x1000)), (5, Firmware("ESP32-C3", 0)),
        (9, Firmware("ESP32-S3", 0)), (18, Firmware("ESP32-P4", 0x2000)),
    ],
)  # fmt: skip
def test_the_head_of_an_image(chip: int, firmware: Firmware) -> None:
    assert read_firmware(image(chip), "m.bin") == firmware


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"UF2\n" + bytes(28), "hold BOOTSEL"),
        (b"", "it is no firmware image"),
        (b"\x7fELF" + bytes(40), "it is no firmware image"),
        (image(999), "unknown number 999"),
    ],
)
def test_what_is_no_image(head: bytes, why: str) -> None:
    with pytest.raises(BoardError, match=why):
        read_firmware(head, "m.bin")


@pytest.mark.parametrize(
    ("chip", "wanted", "is_for"),
    [
        ("ESP32-D0WDQ6", "ESP32", True), ("ESP32-U4WDH", "ESP32", True),
        ("ESP32-PICO-D4", "ESP32", True), ("ESP32-S3", "ESP32", False),
        ("ESP32-P4", "ESP32", False), ("ESP32-S3", "ESP32-S3", True),
        ("ESP32-C61", "ESP32-C6", False), ("ESP32-C6FH4", "ESP32-C6", True),
        ("ESP32-C3", "ESP32-S3", False), ("ESP8266EX", "ESP32", False),
    ],
)  # fmt: skip
def test_chips_and_firmware(chip: str, wanted: str, *, is_for: bool) -> None:
    assert ChipIdentity(chip, "").is_for(Firmware(wanted, 0)) is is_for
