"""The package on real Pico W firmware in an emulator, with and without TLS.

It needs `pip install 'rp2040py[fs]==0.3.6'` and the path of a MicroPython .uf2 in
HECATE_PICO_W_IMAGE, and takes minutes, because the emulator is far slower than a board.
"""

import asyncio
import importlib.util
import json
import os
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.aio import until
from tests.certificates import Files, make_authority
from tests.device.boards import DEVICE_ID, PREFIX, ScriptedBroker
from tests.device.test_faults import command, json_of, replies

IMAGE = os.environ.get("HECATE_PICO_W_IMAGE", "")
MINUTES = 15
PROGRAM = """
import gc
from device import Device
device = Device()

@device.every(0.3)
def heap():
    gc.collect()
    return gc.mem_alloc()

@device.command
def light(args):
    return {"on": args["on"]}

device.run()
"""
pytestmark = [
    pytest.mark.skipif(
        not IMAGE or importlib.util.find_spec("rp2040py") is None,
        reason="rp2040py or HECATE_PICO_W_IMAGE is missing",
    ),
    pytest.mark.slow,
    pytest.mark.timeout(MINUTES * 60 + 60),
]


class TlsBroker(ScriptedBroker):
    """Tells the time as the gateway does; speaks TLS if it has a context."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self.tells_time = True
        self._tls = tls

    async def __aenter__(self) -> "TlsBroker":
        self._server = await asyncio.start_server(
            self._serve,
            "127.0.0.1",
            0,
            ssl=self._tls,
            ssl_handshake_timeout=300 if self._tls else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self


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
    for path in package.rglob("*.mpy"):
        files[f"lib/device/{path.relative_to(package).as_posix()}"] = path.read_bytes()
    for name, content in files.items():
        with image.open(name, "wb") as file:
            file.write(content)
    return bytes(image.context.buffer)


def board_files(port: int, tls: Files | None) -> dict[str, bytes]:
    """Return what an installer puts on the board."""
    settings: dict[str, object] = {
        "name": "attic", "host": "10.0.0.1", "port": port, "wifi_ssid": "RP2040PY-GUEST",
        "wifi_password": "x", "timeout_s": 60, "keepalive_s": 60, "retry_first_s": 0.2,
    }  # fmt: skip
    credentials = {
        "device_id": DEVICE_ID,
        "username": DEVICE_ID,
        "password": "secret",
        "prefix": PREFIX,
    }
    files = {"main.py": PROGRAM.encode(), "credentials.json": json.dumps(credentials).encode()}
    if tls is not None:
        settings |= {"tls": True, "tls_name": "localhost"}
        files["ca.crt"] = tls.ca.read_bytes()
    return files | {"config.json": json.dumps(settings).encode()}


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "tls"])
def test_it_connects_publishes_and_answers(
    tmp_path: Path,
    package: Path,
    is_encrypted: bool,
    record_property: Callable[[str, object], None],
) -> None:
    tls = make_authority(tmp_path / "tls") if is_encrypted else None

    async def stage() -> None:
        async with TlsBroker(tls.server_context() if tls else None) as broker:
            image = tmp_path / "flash.img"
            image.write_bytes(flash_image(package, board_files(broker.port, tls)))
            with (tmp_path / "console").open("wb") as console:
                emulator = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "rp2040py", "micropython"),
                    *("--board-spec", f"{Path(__file__).with_name('pico_loop.py')}:SPEC"),
                    *("--image", IMAGE, "--littlefs", str(image)),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=console,
                    stderr=console,
                )
            try:
                await until(lambda: len(broker.readings(0)) >= 4, "readings", MINUTES * 20)
                broker.writers[-1].write(command("light", '{"id": 7, "on": true}', 7))
                await until(lambda: replies(broker), "the reply", MINUTES * 20)
            finally:
                emulator.terminate()
                await emulator.wait()
            assert replies(broker)[0] == {"id": 7, "ok": True, "on": True}
            heaps = sorted(int(str(json_of(p)["value"])) for p in broker.readings(0))
            record_property(f"bytes of heap on the firmware, TLS {is_encrypted}", heaps[1])
            assert heaps[1] < (96 if is_encrypted else 56) * 1024

    asyncio.run(stage())
