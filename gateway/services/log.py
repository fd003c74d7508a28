"""Writes a container's log: lines with the time, bounded in size on disk and in speed."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from gateway.storage.disk_thread import DiskThread

CHUNK_BYTES = 16 * 1024
TAIL_BYTES = 8192
LINE_LIMIT = 300  # characters, of a line that explains an end
LOG_NAME = "output.log"
OLDER = ".1.log"  # suffix of the file before the current one

_BLOCKED = re.compile(r'File "([^"]+)", line (\d+) in ')


class ContainerLog:
    """One file and the one before it; keeps the last lines to explain an end."""

    def __init__(
        self,
        path: Path,
        limits: tuple[int, int],
        disk: DiskThread,
        clock: Callable[[], float],
    ) -> None:
        self._path, self._disk, self._clock = path, disk, clock
        self._limit_bytes, self._bytes_per_s = limits
        self._tail = b""
        self._in_line = False  # the last byte written ended no line

    async def copy(self, source: IO[bytes]) -> None:
        """Write what a process prints into the pipe until it is closed; close it, too."""
        reader = asyncio.StreamReader(limit=CHUNK_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), source
        )
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                self._tail = (self._tail + chunk)[-TAIL_BYTES:]
                stamped = self._stamped(chunk)
                with contextlib.suppress(OSError):  # a full disk must not stop the process
                    await self._disk.run(self._append, stamped)
                # a process that writes too fast waits until its pipe is read
                await asyncio.sleep(len(stamped) / self._bytes_per_s)
        finally:
            transport.close()

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines that are not empty."""
        lines = self._tail.decode(errors="replace").splitlines()
        return [line.strip()[:LINE_LIMIT] for line in lines if line.strip()][-count:]

    def blocked_at(self, code: Path) -> str:
        """Return the place in the code that faulthandler printed; "" without one."""
        for file, line in _BLOCKED.findall(self._tail.decode(errors="replace")):
            if Path(file).is_relative_to(code):
                return f"{Path(file).relative_to(code)}, line {line}"
        return ""

    def _stamped(self, chunk: bytes) -> bytes:
        stamp = time_stamp(self._clock()).encode() + b" "
        pieces = chunk.splitlines(keepends=True)
        first, self._in_line = self._in_line, not chunk.endswith((b"\n", b"\r"))
        return b"".join(
            piece if first and position == 0 else stamp + piece
            for position, piece in enumerate(pieces)
        )

    def _append(self, stamped: bytes) -> None:
        with self._path.open("ab", buffering=0) as file:
            file.write(stamped)
            size = file.tell()
        if size > self._limit_bytes:
            self._path.replace(self._path.with_suffix(OLDER))


def time_stamp(now: float) -> str:
    """Return a unix time as 2026-01-31T12:00:00.000Z."""
    at = datetime.fromtimestamp(now, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
