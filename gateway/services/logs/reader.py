"""Reads a container's log from its last lines on, piece by piece. Every call blocks."""

import contextlib
import os
from pathlib import Path
from typing import IO

from gateway.services.logs.log import OLDER

PIECE_BYTES = 64 * 1024  # one reader's share of a log in memory, for any number of lines


class LogReader:
    """A place in a log; goes on in the new file when the log begins one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def seek_tail(self, lines: int) -> None:
        """Go to where the last lines begin."""
        self._open(self._path)
        found = _seek_lines(self._file, lines) if self._file else 0
        if found < lines:
            with contextlib.suppress(OSError), self._path.with_suffix(OLDER).open("rb") as before:
                if _seek_lines(before, lines - found):
                    at = before.tell()
                    self._open(self._path.with_suffix(OLDER))
                    if self._file is not None:
                        self._file.seek(at)

    def more(self) -> bytes:
        """Return the next piece; b"" when there is none yet."""
        while True:
            if self._file is None:
                self._open(self._path)
            if self._file is None:
                return b""
            # read again when it is not the log any more: it may have grown between the two looks
            piece = self._file.read(PIECE_BYTES)
            if not piece and not self._is_old(self._file):
                return b""
            if piece := piece or self._file.read(PIECE_BYTES):
                return piece
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, path: Path) -> None:
        self.close()
        with contextlib.suppress(OSError):  # nothing was printed yet
            self._file = path.open("rb", buffering=0)

    def _is_old(self, file: IO[bytes]) -> bool:
        try:
            ours, current = os.fstat(file.fileno()), self._path.stat()
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) != (current.st_dev, current.st_ino)


def _seek_lines(file: IO[bytes], lines: int) -> int:
    """Go to where the last lines of a file begin; return how many there are, at most `lines`."""
    size = end = file.seek(0, os.SEEK_END)
    if not lines or not size:
        return 0
    found = 0
    while end > 0:
        start = max(0, end - PIECE_BYTES)
        file.seek(start)
        block = file.read(end - start)
        # the line feed at the very end begins no line
        at = len(block) - 1 if end == size and block.endswith(b"\n") else len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            found += 1
            if found == lines:
                file.seek(start + at + 1)
                return found
        end = start
    file.seek(0)
    return found + 1
