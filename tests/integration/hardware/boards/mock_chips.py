"""Starts mock bootloaders of Espressif chips on pseudo terminals."""

import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.programs import Program

# gives the chip an address of its own; the mock's is the same for all chips of a kind
START = """
import sys
from esp32_mock_bootloader import registers
registers._MOCK_MAC_OUI = (0x24, 0x0A, int(sys.argv.pop(1)))
from esp32_mock_bootloader.cli import main
sys.exit(main())
"""


class MockChip:
    """One chip in its bootloader; a context that ends it. `link` is its name as a port."""

    def __init__(self, link: Path, chip: str = "esp32", number: int = 0xC4) -> None:
        command = [sys.executable, "-c", START, str(number), "run", "--pty", "--chip", chip]
        self.program = Program(command)
        self.device = Path(self.program.wait_for(r"^(/dev/pts/\d+)$")[1])
        self.link = link
        link.unlink(missing_ok=True)
        link.symlink_to(self.device)

    @property
    def log(self) -> str:
        """The output of the mock chip."""
        return "".join(self.program.lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.program.kill()


def swap(one: Path, other: Path) -> None:
    """Swap two links, as ports do when boards are plugged in another order."""
    targets = one.readlink(), other.readlink()
    for link, target in ((one, targets[1]), (other, targets[0])):
        link.unlink()
        link.symlink_to(target)


def image_for(path: Path, chip: int = 0, size: int = 60_000) -> Path:
    """Write an image with the head of a firmware for a chip."""
    head = bytearray(24)
    head[0], head[1] = 0xE9, 1
    head[12:14] = chip.to_bytes(2, "little")
    body = re.sub(rb".", b"m", bytes(size), flags=re.DOTALL)
    path.write_bytes(bytes(head) + body)
    return path
