"""Measures a device at a serial line and behind Bluetooth LE. Does I/O.

The interpreter is the Unix port: the line is a pair of pseudo terminals without a speed, the radio
a virtual one (bumble). The gateway's links, sessions and broker run in this process.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError
from broker import Message
from gateway.links.serial_lines import SerialLines
from gateway.links.settings import SerialSettings
from hardware.simulated import BoardLimits, DeviceSettings, SimulatedBoard
from settings.secret import Secret
from tests.cable import Cable
from tests.device.boards import compile_package
from tests.link_gateway import LinkGateway, link_gateway
from tests.radio.ble_gateway import ble_gateway
from tests.radio.virtual_radio import VirtualRadio

HEAP = "256K"
LIMIT_S = 120.0
OUTAGE_S = 10.0
ROUND_TRIPS, QUICK_ROUND_TRIPS = 400, 100
PROGRAM = """
import asyncio, gc, time
from device import Device
device = Device()

@device.every(0.1)
def t():
    return time.ticks_ms()

async def measure():
    while not device.link.is_up:
        await asyncio.sleep_ms(100)
    await asyncio.sleep_ms(2000)
    gc.collect()
    print("STAT heap", gc.mem_alloc())
    text, began = "x" * 160, time.ticks_ms()  # a message of 200 bytes with its topic
    for _ in range(COUNT):
        await device.publish("burst", text)
    print("STAT trips_s", COUNT * 1000 / time.ticks_diff(time.ticks_ms(), began))
    text, left, began = "x" * 1000, COUNT, time.ticks_ms()
    async def some():
        nonlocal left
        while left > 0:
            left -= 1
            await device.publish("burst", text)
    await asyncio.gather(some(), some(), some(), some())
    print("STAT bytes_s", COUNT * 1000000 / time.ticks_diff(time.ticks_ms(), began))
    while True:
        await asyncio.sleep(1000)

device.add_task("measure", measure)
device.run()
"""
MORE = {"keepalive_s": 30, "timeout_s": 10}
GatewayMaker = Callable[[], AbstractAsyncContextManager[LinkGateway]]


@dataclass
class LinkedBoard:
    """A board, and how a gateway that it reaches is made, again and again."""

    folder: Path
    make_gateway: GatewayMaker
    link: dict[str, object]
    equip: Callable[[Path], object]
    count: int

    def build(self, token: str) -> SimulatedBoard:
        """Return the board with a claim token."""
        source = self.folder / "measured.py"
        source.write_text(f"COUNT = {self.count}\n{PROGRAM}")
        home = self.folder / "board"
        home.mkdir()
        self.equip(home)
        settings = DeviceSettings("bench", "bench", "none", 1, Secret(token), 0.1, MORE | self.link)
        package = compile_package(self.folder / "package")
        return SimulatedBoard(home, settings, source, BoardLimits(heap=HEAP), package)


async def measure_links(*, quick: bool) -> dict[str, dict[str, str]]:
    """Return the figures of each kind of link as texts."""
    count = QUICK_ROUND_TRIPS if quick else ROUND_TRIPS
    with tempfile.TemporaryDirectory() as name, Cable(Path(name) / "dev") as cable:
        at_line = await _measure(_serial_board(Path(name), cable, count))
    with tempfile.TemporaryDirectory() as name, VirtualRadio() as radio:
        on_air = await _measure(_ble_board(Path(name), radio, count))
    return {"serial": at_line, "Bluetooth LE": on_air}


def _serial_board(folder: Path, cable: Cable, count: int) -> LinkedBoard:
    path = cable.plug()

    @asynccontextmanager
    async def make() -> AsyncIterator[LinkGateway]:
        async with link_gateway(folder) as gateway:
            lines = SerialLines(gateway.links, (SerialSettings(str(path)),), folder / "dev")
            serving = asyncio.create_task(lines.run())
            try:
                yield gateway
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    link: dict[str, object] = {"link": "serial", "serial": cable.board_path}
    return LinkedBoard(folder, make, link, lambda _: None, count)


def _ble_board(folder: Path, radio: VirtualRadio, count: int) -> LinkedBoard:
    @asynccontextmanager
    async def make() -> AsyncIterator[LinkGateway]:
        async with ble_gateway(radio, folder / "node") as gateway:
            yield gateway.parts

    return LinkedBoard(folder, make, {"link": "ble"}, radio.equip, count)


async def _measure(linked: LinkedBoard) -> dict[str, str]:
    board: SimulatedBoard | None = None
    try:
        async with linked.make_gateway() as gateway:
            made = await gateway.admission.new_claim(1, 600.0)
            assert made is not None
            board = linked.build(made[0].reveal())
            await board.start()
            stats = await _until_measured(board)
        await asyncio.sleep(OUTAGE_S)
        back_s = await _first_reading(linked)
    finally:
        if board is not None:
            await board.stop()
    return {
        "heap connected and publishing, bytes": f"{stats['heap']:,.0f}",
        "round trips of 200 B a second (QoS 1)": f"{stats['trips_s']:,.0f}",
        "throughput, 1 KB messages, KB/s": f"{stats['bytes_s'] / 1000:,.0f}",
        "first reading after the gateway was away 10 s, s": f"{back_s:.1f}",
    }


async def _until_measured(board: SimulatedBoard) -> dict[str, float]:
    end = time.monotonic() + LIMIT_S
    while True:
        told = board.log_path.read_text() if board.log_path.exists() else ""
        lines = [line.split() for line in told.splitlines() if line.startswith("STAT ")]
        if len(lines) == 3:
            return {name: float(value) for _, name, value in lines}
        if time.monotonic() > end:
            raise BenchmarkError(f"waited in vain for a linked board; it said: {told[-300:]}")
        await asyncio.sleep(0.1)


async def _first_reading(linked: LinkedBoard) -> float:
    """Start the gateway again; return the seconds until a reading that is new."""
    came = asyncio.Event()

    def look(message: Message) -> None:
        if message.topic.endswith("/readings/t") and "value" in json.loads(message.payload):
            came.set()

    async with linked.make_gateway() as gateway:
        started = time.monotonic()
        gateway.broker.local_client("watcher").subscribe("devices/+/readings/t", look)
        await asyncio.wait_for(came.wait(), LIMIT_S)
        return time.monotonic() - started
