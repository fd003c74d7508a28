"""A container's log: bounded in size on disk and in speed."""

import asyncio
import contextlib
from pathlib import Path
from typing import IO

CHUNK_BYTES = 16 * 1024
TAIL_BYTES = 4096
LINE_LIMIT = 300  # characters, of the line that explains an end


class ContainerLog:
    """One file and the one before it; keeps the last lines to explain an end."""

    def __init__(self, path: Path, limit_bytes: int, bytes_per_s: int) -> None:
        self._path, self._limit_bytes, self._bytes_per_s = path, limit_bytes, bytes_per_s
        self._tail = b""

    async def copy(self, source: IO[bytes]) -> None:
        """Write what a process prints into the pipe until it is closed; close it, too."""
        reader = asyncio.StreamReader(limit=CHUNK_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), source
        )
        file = self._path.open("ab", buffering=0)
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if file.tell() + len(chunk) > self._limit_bytes:
                    file.close()
                    self._path.replace(self._path.with_suffix(".1.log"))
                    file = self._path.open("ab", buffering=0)
                with contextlib.suppress(OSError):  # a full disk must not stop the process
                    file.write(chunk)
                self._tail = (self._tail + chunk)[-TAIL_BYTES:]
                # not reading on is what slows a talkative process down
                await asyncio.sleep(len(chunk) / self._bytes_per_s)
        finally:
            file.close()
            transport.close()

    def last_line(self) -> str:
        """Return the last line that says something."""
        lines = self._tail.decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:LINE_LIMIT]
