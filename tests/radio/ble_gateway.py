"""Runs a gateway's Bluetooth over a virtual radio, and boards that join it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker import Message
from gateway.links.ble.bluetooth import Bluetooth, build_bluetooth
from gateway.links.ble.scheduler import DEFAULT_TIMES, TurnTimes
from gateway.links.ble.settings import BluetoothSettings
from hardware.radio.backend import RadioBackend
from hardware.simulated import BoardLimits, DeviceSettings, SimulatedBoard, write_private
from settings.secret import Secret
from tests.aio import until
from tests.link_gateway import LinkGateway, link_gateway
from tests.radio.adapters import VirtualAdapter
from tests.radio.bleak_backend import make_backend
from tests.radio.virtual_radio import VirtualRadio

HASTE = {"link": "ble", "keepalive_s": 4, "timeout_s": 5, "retry_first_s": 0.1, "retry_cap_s": 0.5}
SMALL_HEAP = "160K"  # 96 KiB of a 32-bit board, and the stand-in for `bluetooth` with its JSON


@dataclass
class BleGateway:
    """The gateway's parts that a test looks at, and every message of devices."""

    radio: VirtualRadio
    adapter: VirtualAdapter
    parts: LinkGateway
    bluetooth: Bluetooth
    seen: list[Message] = field(default_factory=list)

    def payloads(self, device_id: str | None, path: str) -> list[Any]:
        """Return the decoded payloads of a device's topic; its status is a text."""
        topic = f"devices/{device_id}/{path}"
        found = [message.payload for message in self.seen if message.topic == topic]
        return [p.decode() if path == "status" else json.loads(p) for p in found]

    def publish(self, topic: str, payload: Mapping[str, object]) -> None:
        """Publish as an application does."""
        self.parts.broker.local_client("owner").publish(topic, json.dumps(payload).encode(), qos=1)

    async def claim(self) -> str:
        """Return a claim token for one board."""
        made = await self.parts.admission.new_claim(1, 600.0)
        assert made is not None
        return made[0].reveal()

    async def new_board(
        self, folder: Path, package: Path, program: str = "", heap: str = SMALL_HEAP
    ) -> SimulatedBoard:
        """Return a board that has not joined, with a claim token."""
        token = Secret(await self.claim())
        settings = DeviceSettings(folder.name, "simulated", "none", 1, token, 0.2, HASTE)
        self.radio.equip(folder)
        source = None
        if program:
            source = folder.with_name(f"{folder.name}-program.py")
            source.write_text(program)
        limits = BoardLimits(0.05, 0.2, heap=heap)
        return SimulatedBoard(folder, settings, source, limits, package)

    async def until_joined(self, board: SimulatedBoard) -> str:
        """Return the id of a board once it has sent readings as a device."""
        await until(lambda: board.device_id, "the board joins", 30)
        device_id = board.device_id
        assert device_id is not None
        await until(lambda: self.payloads(device_id, "readings/temperature"), "a reading", 30)
        return device_id


@asynccontextmanager
async def ble_gateway(
    radio: VirtualRadio, state: Path, links: int = 3, times: TurnTimes = DEFAULT_TIMES
) -> AsyncIterator[BleGateway]:
    """Run the parts with one adapter."""
    await asyncio.to_thread(state.mkdir, exist_ok=True)
    async with radio.adapters() as adapters, link_gateway(state) as parts:
        adapter = await adapters.add()
        classes = make_backend(adapters)
        backend = RadioBackend(adapters, classes.scanner, classes.client)
        settings = BluetoothSettings(enabled=True, links=links)
        registry = parts.admission.registry
        bluetooth = build_bluetooth(settings, parts.links, registry, parts.broker, backend, times)
        running = asyncio.create_task(bluetooth.run())
        gateway = BleGateway(radio, adapter, parts, bluetooth)
        parts.broker.local_client("witness").subscribe("devices/#", gateway.seen.append)
        try:
            yield gateway
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def powered(board: SimulatedBoard) -> AsyncIterator[SimulatedBoard]:
    """Switch a board on until the end of the context."""
    await board.start()
    try:
        yield board
    finally:
        await board.stop()


def refuse_credentials(board: SimulatedBoard, password: str) -> None:
    """Give a board credentials that nobody accepts."""
    path = board.directory / "credentials.json"
    stored = json.loads(path.read_text())
    write_private(path, json.dumps(stored | {"password": password}))
