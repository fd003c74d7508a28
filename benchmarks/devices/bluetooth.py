"""Measures a device behind Bluetooth LE: `python -m benchmarks.devices.bluetooth`.

A real MicroPython interpreter with the compiled package, a virtual radio, and the gateway's own
Bluetooth, sessions and broker in this process. The virtual radio has no air: it carries what its
processes can, so the figures bound the software and say nothing of a radio.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tests.device.boards import compile_package
from tests.radio.ble_gateway import BleGateway, ble_gateway, powered
from tests.radio.virtual_radio import VirtualRadio

ROUND_TRIPS = 200
RETURNS = 5
LOOKS = 20  # at the heap
PAYLOAD_BYTES = 200
SECONDS = 8.0
TIMEOUT_S = 60.0
PROGRAM = """
import gc
from device import Device

device = Device()
flood = False

@device.every(0.2)
def temperature():
    gc.collect()
    return gc.mem_alloc()

@device.command
def echo(args):
    return {"data": args["data"]}

@device.command
async def start(args):
    global flood
    flood = True

async def fill():
    import asyncio
    while True:
        if flood:
            await device.publish("flood", "x" * 900)
        else:
            await asyncio.sleep_ms(20)

for number in range(4):
    device.add_task("fill", fill)
device.run()
"""


async def until(condition: Callable[[], object]) -> None:
    """Wait with pauses that are too short to matter."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110  # the witness of messages has no event
            await asyncio.sleep(0.001)


async def measure_round_trips(gateway: BleGateway, device_id: str) -> tuple[float, float]:
    """Return how many commands a second are answered one after the other, and their median."""
    took, data = [], "x" * (PAYLOAD_BYTES - len('{"id": 100, "data": ""}'))
    seen = gateway.seen
    topic = f"devices/{device_id}/replies/echo"
    for number in range(ROUND_TRIPS):
        began, known = time.perf_counter(), len(seen)
        gateway.publish(f"devices/{device_id}/commands/echo", {"id": number, "data": data})
        await until(lambda known=known: any(m.topic == topic for m in seen[known:]))  # type: ignore[misc]
        took.append(time.perf_counter() - began)
    return ROUND_TRIPS / sum(took), statistics.median(took)


async def measure_return(gateway: BleGateway, device_id: str) -> float:
    """Return the seconds from the end of a link until the device is online again."""
    known = gateway.payloads(device_id, "status").count("online")
    began = time.perf_counter()
    for connection in list(gateway.adapter.links.values()):
        await connection.disconnect()
    await until(lambda: gateway.payloads(device_id, "status").count("online") > known)
    return time.perf_counter() - began


async def measure_flood(gateway: BleGateway, device_id: str) -> tuple[float, float]:
    """Return the messages and the bytes a second that a device publishes at QoS 1."""
    topic = f"devices/{device_id}/readings/flood"
    gateway.publish(f"devices/{device_id}/commands/start", {"id": "s"})
    await until(lambda: any(m.topic == topic for m in gateway.seen))
    known = len(gateway.seen)
    await asyncio.sleep(SECONDS)
    came = [m.payload for m in gateway.seen[known:] if m.topic == topic]
    return len(came) / SECONDS, sum(map(len, came)) / SECONDS


async def measure(folder: Path, radio: VirtualRadio) -> dict[str, str]:
    """Return the figures, as texts."""
    package = await asyncio.to_thread(compile_package, folder / "package")
    async with ble_gateway(radio, folder / "state") as gateway:
        board = await gateway.new_board(folder / "board", package, PROGRAM, heap="512K")
        began = time.perf_counter()
        async with powered(board):
            device_id = await gateway.until_joined(board)
            joined_s = time.perf_counter() - began
            await until(lambda: len(readings(gateway, device_id)) > LOOKS)
            heap = statistics.median(r["value"] for r in readings(gateway, device_id))
            rate, median_s = await measure_round_trips(gateway, device_id)
            returned_s = statistics.median(
                [await measure_return(gateway, device_id) for _ in range(RETURNS)]
            )
            messages, octets = await measure_flood(gateway, device_id)
    return {
        "from power on to the first reading, with the join, s": f"{joined_s:.1f}",
        "heap connected and publishing, bytes (64 bits)": f"{heap:,.0f}",
        f"commands of {PAYLOAD_BYTES} B answered, one after the other, per s": f"{rate:.0f}",
        "median of one, ms": f"{median_s * 1000:.1f}",
        "median from the end of a link until it is online again, s": f"{returned_s:.1f}",
        "readings of 900 B at QoS 1 per s": f"{messages:.0f}",
        "payload per s, KiB": f"{octets / 1024:.1f}",
    }


def readings(gateway: BleGateway, device_id: str) -> list[dict[str, float]]:
    """Return what the device has published as its temperature, which is its heap here."""
    topic = f"devices/{device_id}/readings/temperature"
    return [json.loads(m.payload) for m in gateway.seen if m.topic == topic]


def main() -> None:
    """Measure, and print the figures."""
    with tempfile.TemporaryDirectory() as folder, VirtualRadio() as radio:
        for name, value in asyncio.run(measure(Path(folder), radio)).items():
            Console().print(f"{name}: {value}")


if __name__ == "__main__":
    main()
