"""Reads a container's log: its last lines, then what is added to it. Every call blocks."""

import contextlib
import os
from pathlib import Path
from typing import IO

from gateway.services.log import OLDER

PIECE_BYTES = 64 * 1024
TAIL_LIMIT_BYTES = 1024 * 1024  # read back from the end, at most


class LogReader:
    """A place in a log; goes on in the new file when the log begins one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def tail(self, lines: int) -> bytes:
        """Return the last lines, and stand behind them."""
        self._open()
        current = _last_bytes(self._file)
        if current.count(b"\n") < lines:
            with contextlib.suppress(OSError), self._path.with_suffix(OLDER).open("rb") as before:
                current = _last_bytes(before) + current
        return b"".join(current.splitlines(keepends=True)[-lines:]) if lines else b""

    def more(self) -> bytes:
        """Return a piece of what was added since; b"" when nothing was."""
        if self._file is None:
            self._open()
        piece = self._file.read(PIECE_BYTES) if self._file else b""
        if not piece and self._file is not None and self._is_old():
            piece = self._file.read(PIECE_BYTES)  # what came between the two looks
            if not piece:
                self.close()
        return piece

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self.close()
        with contextlib.suppress(OSError):  # nothing was printed yet
            self._file = self._path.open("rb", buffering=0)

    def _is_old(self) -> bool:
        if self._file is None:
            return False
        try:
            ours, current = os.fstat(self._file.fileno()), self._path.stat()
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) != (current.st_dev, current.st_ino)


def _last_bytes(file: IO[bytes] | None) -> bytes:
    """Return the end of a file, from the beginning of a line; stand behind it."""
    if file is None:
        return b""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL_LIMIT_BYTES))
    end = file.read(TAIL_LIMIT_BYTES)
    return end if size <= TAIL_LIMIT_BYTES else end.partition(b"\n")[2]
