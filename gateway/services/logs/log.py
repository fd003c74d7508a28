"""Writes a container's log: lines with the time, bounded in size on disk and in speed.

Everything that is left out is told in the log: the rest of a long line, the older of the two files
when a new one begins, and what a full disk did not take.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

from gateway.services.logs.lines import LogLines, note, parse_entry, time_stamp
from gateway.storage.disk_thread import DiskThread

__all__ = ["LOG_NAME", "OLDER", "ContainerLog", "note_line", "time_stamp"]

CHUNK_BYTES = 16 * 1024
TAIL_BYTES = 8192
LINE_BYTES = 8 * 1024  # of a line in the log; the rest of it is left out
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
        self._lines = LogLines(LINE_BYTES)
        self._unwritten = 0  # bytes that the disk did not take

    async def copy(self, source: IO[bytes]) -> None:
        """Write what a process prints into the pipe until it is closed; close it, too."""
        reader = asyncio.StreamReader(limit=CHUNK_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), source
        )
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                self._tail = (self._tail + chunk)[-TAIL_BYTES:]
                stamped = self._lines.feed(chunk, self._clock())
                try:
                    await self._disk.run(self._append, stamped)
                except OSError:  # a full disk must not stop the process
                    self._unwritten += len(stamped)
                # a process that writes too fast waits until its pipe is read
                await asyncio.sleep(len(stamped) / self._bytes_per_s)
            if self._unwritten:
                with contextlib.suppress(OSError):
                    await self._disk.run(self._append, b"")
        finally:
            transport.close()

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines that are not empty; of an entry its text."""
        lines = self._tail.decode(errors="replace").splitlines()
        shown = [line.strip() for line in lines if line.strip()][-count:]
        entries = [parse_entry(line) for line in shown]
        texts = [e["message"] if e else line for e, line in zip(entries, shown, strict=True)]
        return [text[:LINE_LIMIT] for text in texts]

    def blocked_at(self, code: Path) -> str:
        """Return the place in the code that faulthandler printed; "" without one."""
        for file, line in _BLOCKED.findall(self._tail.decode(errors="replace")):
            if Path(file).is_relative_to(code):
                return f"{Path(file).relative_to(code)}, line {line}"
        return ""

    def _append(self, stamped: bytes) -> None:
        with self._path.open("ab", buffering=0) as file:
            if self._unwritten:
                text = f"{self._unwritten} bytes of output were not written: the disk was full"
                _write(file, note(text, self._clock()))
                self._unwritten = 0
            _write(file, stamped)
            size = file.tell()
        if size > self._limit_bytes:
            self._begin_file()

    def _begin_file(self) -> None:
        """Let the present file be the older one; tell in the new one what is gone with that."""
        older = self._path.with_suffix(OLDER)
        gone = older.stat().st_size if older.exists() else 0
        self._path.replace(older)
        if gone:
            text = f"{gone} bytes of older output were removed: [limits] log_mib bounds the log"
            note_line(self._path, text, self._clock())


def note_line(path: Path, text: str, now: float) -> None:
    """Append a line of the gateway itself to a log; OSError when the disk does not take it."""
    with path.open("ab", buffering=0) as file:
        file.write(note(text, now))


def _write(file: IO[bytes], data: bytes) -> None:
    """Write all of it: a disk that is nearly full takes a part."""
    if file.write(data) != len(data):
        raise OSError("the disk is full")
