"""Measures a device on a serial line: `python -m benchmarks.devices.serial_line`.

The interpreter has one end of a pseudo terminal, the gateway's links and broker have the other, in
this process. A pseudo terminal has no speed, so the time is that of both programs; the bytes on the
line, which count, tell what a real line allows.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import time
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.devices.measure import compile_client
from broker import AllowAll, Broker, Credentials, Identity, Refusal
from gateway.devices.credentials import digest_of
from gateway.devices.joining.claims import Claims
from gateway.devices.joining.pending import PendingBoards
from gateway.devices.record import DeviceRecord
from gateway.devices.registry import DeviceRegistry
from gateway.devices.tables import DeviceTables
from gateway.links.links import Links
from gateway.links.serial_line import SerialLine
from hardware.simulated import BoardLimits, DeviceSettings, SimulatedBoard, write_private

DEVICE, TOKEN = "dev-0123456789ab", "a token of twenty-four ch"
PREFIX = f"devices/{DEVICE}"
BAUD_BYTES_S = 11_520  # of 115,200 baud
MESSAGES, COMMANDS = 2_000, 300
CHUNK_BYTES = (60, 200)  # of the gateway
START_S, STEP_S = 30.0, 0.01

PROGRAM = f"""
import asyncio, time
from device import Device
device = Device()

@device.command
def echo(args):
    return args

async def burst():
    while not device.link.is_up:
        await asyncio.sleep_ms(20)
    began, left = time.ticks_ms(), {MESSAGES}
    async def some():
        nonlocal left
        while left > 0:
            left -= 1
            await device.publish("burst", 21.5, "C")
    await asyncio.gather(some(), some(), some(), some())
    print("STAT", {MESSAGES} * 1000 / time.ticks_diff(time.ticks_ms(), began))

device.add_task("burst", burst)
device.run()
"""


@dataclass
class Terminal:
    """The gateway's end of a pseudo terminal, as a serial port."""

    descriptor: int

    def fileno(self) -> int:
        """Return its descriptor."""
        return self.descriptor

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


class CountedLine(SerialLine):
    """A line that counts its bytes."""

    bytes_sent = 0
    bytes_received = 0

    async def write(self, chunk: bytes) -> None:
        """Send a chunk; COBS adds three bytes."""
        self.bytes_sent += len(chunk) + 3
        await super().write(chunk)

    async def read(self) -> bytes:
        """Return the next chunk."""
        chunk = await super().read()
        self.bytes_received += len(chunk) + 3
        return chunk


class ProvedOnly(AllowAll):
    """Admits what the link has proved."""

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        """Return the device."""
        return Identity(credentials.proved, credentials.client_id)


@dataclass
class Run:
    """A board that is online, and what it has said."""

    board: SimulatedBoard
    broker: Broker
    line: CountedLine
    replies: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    async def rate(self) -> float:
        """Return the messages per second that the program prints."""
        deadline = time.monotonic() + 4 * START_S
        while time.monotonic() < deadline:
            text = self.board.log_path.read_text() if self.board.log_path.exists() else ""
            if found := re.search(r"STAT (\S+)", text):
                return float(found[1])
            await asyncio.sleep(STEP_S)
        raise TimeoutError(f"no figure from the board, see {self.board.log_path}")


@asynccontextmanager
async def running(folder: Path, chunk_bytes: int) -> AsyncIterator[Run]:
    """Run a board on a line."""
    registry = DeviceRegistry([DeviceRecord(DEVICE, "b", "b", digest_of(TOKEN.encode()), 1.0)])
    tables = DeviceTables(registry, Claims([]), PendingBoards([], lambda: "0"))
    access = ProvedOnly()
    async with Broker((), access, access, sys_interval_s=0) as broker:
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        line = CountedLine("serial:benchmark", Terminal(master), chunk_bytes)
        serving = asyncio.create_task(Links(tables, 0, broker).serve(line))
        program = folder / "program.py"
        program.write_text(PROGRAM)
        more = {"link": "serial", "serial": os.ttyname(slave), "interval_s": 5}
        settings = DeviceSettings("b", "b", "none", 1, more=more)
        compile_client("hecate", folder, folder / "package")
        package = folder / "package/device"
        board = SimulatedBoard(folder / "board", settings, program, BoardLimits(), package)
        (folder / "board").mkdir()
        known = {"device_id": DEVICE, "username": DEVICE, "password": TOKEN, "prefix": PREFIX}
        write_private(folder / "board/credentials.json", json.dumps(known))
        run = Run(board, broker, line)
        broker.local_client("watcher").subscribe(
            f"{PREFIX}/replies/#", lambda message: run.replies.put_nowait(message.payload)
        )
        await board.start()
        try:
            yield run
        finally:
            await board.stop()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            os.close(slave)


async def measure(chunk_bytes: int) -> dict[str, Any]:
    """Return the figures for one size of the gateway's chunks."""
    with tempfile.TemporaryDirectory() as name:
        async with running(Path(name), chunk_bytes) as run:
            rate = await run.rate()
            up = run.line.bytes_received / MESSAGES
            down = run.line.bytes_sent / MESSAGES
            owner, began = run.broker.local_client("owner"), time.monotonic()
            before = run.line.bytes_received + run.line.bytes_sent
            for number in range(COMMANDS):
                payload = json.dumps({"id": str(number), "on": True}).encode()
                owner.publish(f"{PREFIX}/commands/echo", payload, qos=1)
                await asyncio.wait_for(run.replies.get(), START_S)
            trips = COMMANDS / (time.monotonic() - began)
            both = (run.line.bytes_received + run.line.bytes_sent - before) / COMMANDS
    return {
        "readings acknowledged a second, no limit by the line": f"{rate:,.0f}",
        "bytes on the line for a reading: up, down": f"{up:.0f}, {down:.0f}",
        "so at most, at 115,200 baud, a second": f"{BAUD_BYTES_S / max(up, down):,.0f}",
        "commands answered one after another, a second": f"{trips:,.0f}",
        "bytes on the line for a command and its reply": f"{both:.0f}",
    }


def main() -> int:
    """Print a table."""
    figures = {size: asyncio.run(measure(size)) for size in CHUNK_BYTES}
    heads = " | ".join(f"chunks of {size} bytes from the gateway" for size in CHUNK_BYTES)
    lines = [f"| | {heads} |", "|---|" + "---|" * len(CHUNK_BYTES)]
    for row in figures[CHUNK_BYTES[0]]:
        lines.append(f"| {row} | " + " | ".join(figures[s][row] for s in CHUNK_BYTES) + " |")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
