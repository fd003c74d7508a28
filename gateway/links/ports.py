"""Defines a link that carries chunks, and a bounded queue for those that it brings."""

import asyncio
from collections import deque
from typing import Protocol

INBOX_BYTES = 8 * 1024  # twice what a window has, with its acknowledgements


class LinkClosedError(Exception):
    """A link has ended: a cable was pulled, a radio lost its peer."""


class ChunkPort(Protocol):
    """One link to one device; it may lose, repeat, reorder and spoil chunks."""

    @property
    def name(self) -> str:
        """The name in lists and logs: "serial:/dev/ttyUSB0", "ble:AA:BB:CC:DD:EE:FF"."""

    @property
    def chunk_bytes(self) -> int:
        """The largest chunk that the link is said to carry."""

    async def read(self) -> bytes:
        """Return the next chunk; LinkClosedError when the link has ended. May be cancelled."""

    async def write(self, chunk: bytes) -> None:
        """Send a chunk; wait while the link is busy; LinkClosedError when it has ended."""

    async def close(self) -> None:
        """Close the link; read() and write() then raise LinkClosedError."""


class ChunkInbox:
    """Chunks from a callback, for read(): bounded in bytes, what does not fit is dropped."""

    def __init__(self, limit_bytes: int = INBOX_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._chunks: deque[bytes] = deque()
        self._size_bytes = 0
        self._why_closed: str | None = None
        self._changed = asyncio.Event()
        self.dropped = 0

    @property
    def is_closed(self) -> bool:
        """True when the link has ended."""
        return self._why_closed is not None

    def put(self, chunk: bytes) -> None:
        """Add a chunk."""
        if self._size_bytes + len(chunk) > self._limit_bytes or self._why_closed is not None:
            self.dropped += 1
            return
        self._chunks.append(chunk)
        self._size_bytes += len(chunk)
        self._changed.set()

    def close(self, why: str) -> None:
        """Note that the link has ended; get() raises LinkClosedError after the last chunk."""
        if self._why_closed is None:
            self._why_closed = why
        self._changed.set()

    async def get(self) -> bytes:
        """Return the next chunk."""
        while not self._chunks:
            if self._why_closed is not None:
                raise LinkClosedError(self._why_closed)
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        self._size_bytes -= len(chunk)
        return chunk
