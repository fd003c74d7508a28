"""esptool writes to a mock bootloader of a chip, on a pseudo terminal."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.devices.flash import Confirm, flash_board
from gateway.cli.errors import CliError
from hardware.boards.esptool import ChipIdentity, Flasher
from hardware.boards.ports import open_port
from tests.integration.hardware.boards.mock_chips import MockChip, image_for, swap

pytest.importorskip("esp32_mock_bootloader")


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[MockChip]:
    with MockChip(tmp_path / "ttyUSB0") as mock:
        yield mock


def flash(
    image: Path, port: Path, confirm: Confirm = lambda _: True, *, erase: bool = False
) -> None:
    asyncio.run(flash_board(image, str(port), 460_800, confirm, erase=erase))


def read_back(chip: MockChip, size: int, folder: Path) -> bytes:
    target = folder / "back.bin"
    esptool = Path(sys.executable).parent / "esptool"
    command = [str(esptool), "--port", str(chip.device), "read-flash", "0x1000", str(size)]
    command.append(str(target))
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return target.read_bytes()


def test_an_image_is_written_and_verified(chip: MockChip, tmp_path: Path) -> None:
    image, asked = image_for(tmp_path / "micropython.bin"), list[str]()

    def confirm(question: str) -> bool:
        asked.append(question)
        return True

    flash(image, chip.link, confirm, erase=True)
    (question,) = asked
    assert "ESP32" in question
    assert "24:0a:c4:" in question
    assert read_back(chip, image.stat().st_size, tmp_path) == image.read_bytes()


def test_progress_is_told_and_reaches_the_end(chip: MockChip, tmp_path: Path) -> None:
    async def write() -> list[float]:
        told: list[float] = []
        flasher = Flasher(image_for(tmp_path / "m.bin"), open_port(chip.link))
        await flasher.flash(await flasher.identify(), told.append, erase=False)
        return told

    told = asyncio.run(write())
    assert told == sorted(told)
    assert told[-1] == 1.0


# case L19
def test_a_board_that_took_the_place_of_the_confirmed_one_is_not_flashed(tmp_path: Path) -> None:
    image = image_for(tmp_path / "m.bin")
    with (
        MockChip(tmp_path / "ttyUSB0") as one,
        MockChip(tmp_path / "ttyUSB1", number=0xC5) as other,
    ):
        before = [read_back(chip, 4096, tmp_path) for chip in (one, other)]

        def swap_and_confirm(_: str) -> bool:
            swap(one.link, other.link)
            return True

        with pytest.raises(CliError, match=r"nothing was written"):
            flash(image, one.link, swap_and_confirm)
        assert [read_back(chip, 4096, tmp_path) for chip in (one, other)] == before


# case L19
def test_another_board_behind_the_same_device_is_not_flashed(tmp_path: Path) -> None:
    image = image_for(tmp_path / "m.bin")
    with MockChip(tmp_path / "ttyUSB0") as chip:
        before = read_back(chip, 4096, tmp_path)
        expected = ChipIdentity(
            "ESP32-D0WDQ6", "24:0a:c5:00:00:01"
        )  # the identity of the person's board

        async def write() -> None:
            flasher = Flasher(image, open_port(chip.link))
            await flasher.flash(expected, lambda _: None, erase=True)

        with pytest.raises(Exception, match="and was ESP32-D0WDQ6 with the address 24:0a:c5"):
            asyncio.run(write())
        assert read_back(chip, 4096, tmp_path) == before


def test_firmware_for_another_chip_is_not_written(chip: MockChip, tmp_path: Path) -> None:
    before = read_back(chip, 4096, tmp_path)
    with pytest.raises(CliError, match=r"for ESP32-C3, and the board .* is ESP32-D0WD.*nothing"):
        flash(image_for(tmp_path / "c3.bin", chip=5), chip.link)
    assert read_back(chip, 4096, tmp_path) == before


def test_nothing_is_written_without_a_yes(chip: MockChip, tmp_path: Path) -> None:
    with pytest.raises(CliError, match="not confirmed; nothing was written"):
        flash(image_for(tmp_path / "m.bin"), chip.link, lambda _: False)


# case L19
def test_a_port_that_another_program_holds_is_named(chip: MockChip, tmp_path: Path) -> None:
    script = tmp_path / "terminal.py"
    script.write_text(
        "import sys\nport = open(sys.argv[1], 'rb')\nprint('open', flush=True)\ninput()\n"
    )
    with subprocess.Popen(
        [sys.executable, script, chip.device], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        why = rf"terminal\.py \(pid {holder.pid}\) has it open; end that program first"
        with pytest.raises(CliError, match=why):
            flash(image_for(tmp_path / "m.bin"), chip.link)
        holder.communicate(b"\n")
    flash(image_for(tmp_path / "m.bin"), chip.link)


# case L19
@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_port_closed_to_the_user_names_the_group(chip: MockChip) -> None:
    chip.device.chmod(0o620)
    os.chown(chip.device, 0, 20)
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom hardware.boards.ports import open_port\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "open_port(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, chip.device], capture_output=True, text=True, check=False
    )
    assert "you are not in group dialout; run `sudo usermod -aG dialout nobody`" in done.stderr
