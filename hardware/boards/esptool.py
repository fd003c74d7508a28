"""Identifies Espressif's chips, and writes firmware to them.

A port's name says nothing about the board behind it: names move when boards are plugged in another
order. So the board is asked for its chip and its MAC address when a person decides, and again
immediately before the first byte is written; esptool reads the address once more when it connects
to write, and is ended if it is another one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hardware.boards.errors import BoardError
from hardware.boards.firmware import HEAD_BYTES, Firmware, read_firmware
from hardware.boards.ports import SerialPort
from hardware.boards.programs import ProgramResult, find_program, run_program

ASK_S = 60.0
WRITE_S = 900.0
BAUD = 460_800

_CHIP = re.compile(r"^Chip type:\s+(?P<chip>\S.*?)(?: \(.*)?$")
_MAC = re.compile(r"^MAC:\s+(?P<mac>[0-9a-f]{2}(?::[0-9a-f]{2}){5,7})$")
_PROGRESS = re.compile(r"^Writing at 0x[0-9a-f]+ .*?(?P<percent>\d+(?:\.\d+)?)%")
_FATAL = re.compile(r"^(?:A fatal error occurred: |.*Error: )(?P<why>.+)$")
VERIFIED = "Hash of data verified."


@dataclass(frozen=True, slots=True)
class ChipIdentity:
    """A chip: its type and its MAC address."""

    chip: str  # as "ESP32-D0WDQ6"
    mac: str

    def is_for(self, firmware: Firmware) -> bool:
        """Return whether firmware is for this chip."""
        names = (self.chip, firmware.chip)
        family, wanted = (name.upper().replace("-", "") for name in names)
        others = ("S2", "S3", "C2", "C3", "C5", "C6", "C61", "H2", "P4")
        if wanted == "ESP32":
            return family.startswith("ESP32") and not family[5:].startswith(others)
        rest = family.removeprefix(wanted)
        return family.startswith(wanted) and not (wanted.endswith("C6") and rest.startswith("1"))

    def __str__(self) -> str:
        return f"{self.chip} with the address {self.mac}"


def read_identity(lines: list[str]) -> ChipIdentity | None:
    """Return the identity in esptool's output, or None."""
    chip = next((m["chip"] for line in lines if (m := _CHIP.match(line))), "")
    mac = next((m["mac"] for line in lines if (m := _MAC.match(line))), "")
    return ChipIdentity(chip, mac) if chip and mac else None


def read_progress(line: str) -> float | None:
    """Return the share of an image that is written, 0 to 1, or None for other lines."""
    match = _PROGRESS.match(line)
    return float(match["percent"]) / 100 if match else None


class Flasher:
    """Writes one firmware image to one board."""

    def __init__(self, image: Path, port: SerialPort, baud: int = BAUD) -> None:
        """Read the image's head; BoardError when it is no firmware."""
        self._image, self._port, self._baud = image, port, baud
        self._program = find_program("esptool")
        try:
            with image.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except OSError as exc:
            raise BoardError(f"cannot read {image}: {(exc.strerror or str(exc)).lower()}") from exc
        self.firmware = read_firmware(head, image.name)

    async def identify(self) -> ChipIdentity:
        """Return the board's identity; BoardError when it does not answer or is another chip."""
        self._port.check()
        outcome = await self._run(["read-mac"], ASK_S)
        identity = read_identity(outcome.lines)
        if outcome.code or identity is None:
            raise BoardError(f"cannot ask {self._port.path}: {_why(outcome)}")
        if not identity.is_for(self.firmware):
            raise BoardError(
                f"cannot flash {self._image.name}: it is for {self.firmware.chip}, and the board "
                f"at {self._port.path} is {identity}; nothing was written"
            )
        return identity

    async def flash(
        self, expected: ChipIdentity, on_progress: Callable[[float], None], *, erase: bool
    ) -> None:
        """Write and verify the image on the expected board.

        Raises:
            BoardError: another board answers, or the image is not on it as it should be.
        """
        found = await self.identify()
        if found != expected:
            raise self._another(found, expected)
        command = ["write-flash", *(["--erase-all"] if erase else [])]
        command += [f"0x{self.firmware.address:x}", str(self._image)]
        is_verified = False

        def on_line(line: str) -> None:
            nonlocal is_verified
            is_verified |= line == VERIFIED
            if (match := _MAC.match(line)) and match["mac"] != expected.mac:
                raise self._another(ChipIdentity("a chip", match["mac"]), expected)
            if (share := read_progress(line)) is not None:
                on_progress(share)

        self._port.check()
        outcome = await self._run(command, WRITE_S, on_line)
        if outcome.code or not is_verified:
            raise BoardError(
                f"cannot flash {self._image.name}: {_why(outcome)}; the board may not start now: "
                "run the command again"
            )

    async def _run(
        self, command: list[str], timeout_s: float, on_line: Callable[[str], None] | None = None
    ) -> ProgramResult:
        options = ["--port", str(self._port.device), "--baud", str(self._baud)]
        return await run_program([self._program, *options, *command], timeout_s, on_line)

    def _another(self, found: ChipIdentity, expected: ChipIdentity) -> BoardError:
        return BoardError(
            f"cannot flash {self._image.name}: the board at {self._port.path} is {found} now, and "
            f"was {expected}; nothing was written"
        )


def _why(outcome: ProgramResult) -> str:
    for line in outcome.lines:
        if match := _FATAL.match(line):
            why = match["why"]
            if "Failed to connect" in why or "No serial data" in why:
                return f"{why}; hold the board's BOOT button while you press its reset button"
            return why
    return outcome.lines[-1] if outcome.lines else "esptool said nothing"
