"""Receives an upload into a file without a name: of one that is cut nothing is left."""

import asyncio
import tempfile
from collections.abc import AsyncIterable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from gateway.services.errors import ImageSizeError, StorageError

BLOCK_BYTES = 256 * 1024  # go to the disk at once, in another thread


class Upload:
    """A file that grows within a bound; it is gone at the end of the context."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit_bytes = folder, limit_bytes
        self._file: IO[bytes] | None = None
        self._pending = bytearray()
        self.size = 0

    async def __aenter__(self) -> Self:
        try:
            self._file = await asyncio.to_thread(tempfile.TemporaryFile, dir=self._folder)
        except OSError as exc:
            raise _disk_error(exc) from exc
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            await asyncio.to_thread(self._file.close)

    async def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            ImageSizeError: there are too many.
            StorageError: the disk does not take them.
        """
        self.size += len(data)
        if self.size > self._limit_bytes:
            raise ImageSizeError(f"cannot store image: over {self._limit_bytes} bytes")
        self._pending += data
        if len(self._pending) >= BLOCK_BYTES:
            await self._flush()

    async def write_all(self, chunks: AsyncIterable[bytes]) -> None:
        """Append all chunks; errors are those of write()."""
        async for chunk in chunks:
            await self.write(chunk)

    async def finish(self) -> IO[bytes]:
        """Return the whole file."""
        await self._flush()
        return self._open()

    async def _flush(self) -> None:
        block = bytes(self._pending)
        self._pending.clear()
        try:
            await asyncio.to_thread(_write, self._open(), block)
        except OSError as exc:
            raise _disk_error(exc) from exc

    def _open(self) -> IO[bytes]:
        if self._file is None:
            raise RuntimeError("the upload is used outside of its context")
        return self._file


def _write(file: IO[bytes], block: bytes) -> None:
    file.write(block)
    file.flush()  # a full disk is noticed now


def _disk_error(exc: OSError) -> StorageError:
    return StorageError(f"cannot store image: {exc.strerror or exc}; `hecate images` lists others")
