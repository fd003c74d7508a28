"""Carries chunks over one GATT link: out by writes without response, in by notifications.

What a link does not promise: that what was written arrives, that notifications come complete or
after the answer to the subscription, that it says when it ends, and that the size of chunks that it
names passes. protocol/chunks stands all that; the link only keeps its bounds.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware.radio.backend_call import BackendCalls
from hardware.radio.errors import LinkLostError, RadioError
from hardware.radio.hecate_service import RX

if TYPE_CHECKING:
    from bleak import BleakClient

QUEUE_BYTES = 16 * 1024  # received and not taken; eight windows of a device
WRITE_S = 5.0  # for the system to take one chunk
CLOSE_S = 5.0
LARGEST_CHUNK = 244  # fits one packet of the link layer with its longest payload, 251 bytes
SMALLEST_CHUNK = 20  # MTU 23, which every link has


@dataclass(slots=True)
class LinkCounters:
    """The counters of one link."""

    chunks_in: int = 0
    chunks_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    overflowed: int = 0  # chunks that were dropped because nobody took them


class GattLink:
    """One link to a device; made by open_link()."""

    def __init__(self, client: "BleakClient", calls: BackendCalls, address: str) -> None:
        self._client, self._calls = client, calls
        self.address = address
        self.counters = LinkCounters()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._arrived = asyncio.Event()
        self._lost = ""
        self._writing = asyncio.Lock()

    @property
    def chunk_bytes(self) -> int:
        """The size of chunks to begin with; the link may pass smaller ones only."""
        sizes = [
            c.max_write_without_response_size
            for s in self._client.services
            for c in s.characteristics
            if c.uuid.lower() == RX
        ]
        return min(max(min(sizes, default=0), SMALLEST_CHUNK), LARGEST_CHUNK)

    @property
    def is_lost(self) -> bool:
        """True once the link has ended."""
        return bool(self._lost)

    @property
    def is_connected(self) -> bool:
        """True while the backend says that the link stands."""
        try:
            return not self._lost and self._client.is_connected
        except Exception:  # noqa: BLE001  # as of backend_call
            return False

    async def receive(self) -> bytes:
        """Return the next chunk; LinkLostError once the link has ended and all are taken."""
        while not self._queue:
            if self._lost:
                raise LinkLostError(self._lost)
            self._arrived.clear()
            await self._arrived.wait()
        chunk = self._queue.popleft()
        self._queued_bytes -= len(chunk)
        return chunk

    async def send(self, chunk: bytes) -> None:
        """Write a chunk when the system has taken those before; LinkLostError ends the link."""
        async with self._writing:
            if self._lost:
                raise LinkLostError(self._lost)
            call = self._client.write_gatt_char(RX, chunk, response=False)
            try:
                await self._calls.run(f"write to {self.address}", call, WRITE_S)
            except RadioError as exc:
                self.lose(str(exc))
                raise LinkLostError(str(exc)) from exc
            self.counters.chunks_out += 1
            self.counters.bytes_out += len(chunk)

    def take(self, chunk: bytes) -> None:
        """Queue a chunk that the device notified; one too many is dropped and sent again later."""
        self.counters.chunks_in += 1
        self.counters.bytes_in += len(chunk)
        if self._lost:
            return
        if self._queued_bytes + len(chunk) > QUEUE_BYTES:
            self.counters.overflowed += 1
            return
        self._queue.append(chunk)
        self._queued_bytes += len(chunk)
        self._arrived.set()

    def lose(self, why: str) -> None:
        """Note that the link has ended."""
        if not self._lost:
            self._lost = why or "the link has ended"
            self._arrived.set()

    async def close(self) -> None:
        """End the link; harmless when it has ended."""
        self.lose("the link was closed")
        await self._calls.run(f"close the link to {self.address}", self._client.disconnect(),
                              CLOSE_S)  # fmt: skip
