"""Plays the gateway at the level of chunks: one GATT link, and a reliable stream over it."""

import asyncio
import time
from typing import Self

from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice

from hardware.radio.hecate_service import GREETING, LAYOUT, RX, SERVICE, TX
from protocol.chunks.stream import ReliableStream
from tests.radio.bleak_backend import Backend

TIMEOUT_S = 30.0

LAYOUT_VERSION = 1
LARGEST_CHUNK = 244


async def find_device(backend: Backend, address: str) -> BLEDevice:
    """Return a Hecate device once it advertises."""

    def is_it(found: BLEDevice, heard: object) -> bool:
        return found.address == address and SERVICE in getattr(heard, "service_data", {})

    found = await BleakScanner.find_device_by_filter(is_it, TIMEOUT_S, backend=backend.scanner)
    assert found is not None, f"{address} does not advertise"
    return found


class Central:
    """A link that hears, and writes."""

    def __init__(self, backend: Backend, device: BLEDevice) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.client = BleakClient(
            device, lambda _: self.lost.set(), timeout=TIMEOUT_S, backend=backend.client
        )

    async def __aenter__(self) -> Self:
        await self.client.connect()
        try:
            assert await self.client.read_gatt_char(LAYOUT) == bytes((LAYOUT_VERSION,))
            await self.client.start_notify(TX, lambda _, value: self.heard.put_nowait(bytes(value)))
            await self.write(GREETING)
        except BaseException:
            await self.client.disconnect()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.disconnect()

    async def write(self, chunk: bytes) -> None:
        """Write a chunk as a gateway does."""
        await self.client.write_gatt_char(RX, chunk, response=False)


async def exchange(central: Central, session: int, sent: bytes, wanted: int) -> bytes:
    """Send bytes in a reliable stream; return the first so many that come back."""
    stream = ReliableStream(session, min(central.client.mtu_size - 3, LARGEST_CHUNK))
    received, at = bytearray(), 0
    while len(received) < wanted:
        while at < len(sent) and stream.send(sent[at : at + 512]):
            at += 512
        for chunk in stream.poll(time.monotonic()):
            await central.write(chunk)
        assert not stream.failed, f"{len(received)} of {wanted} bytes came"
        due = stream.next_due()
        pause_s = 0.5 if due is None else max(due - time.monotonic(), 0)
        try:
            async with asyncio.timeout(pause_s):
                received += stream.receive(await central.heard.get())
        except TimeoutError:
            pass
    for chunk in stream.poll(time.monotonic()):  # the last acknowledgement
        await central.write(chunk)
    return bytes(received)
