"""Defines the file operations of the journal as a port; tests put a simulated disk under it."""

import fcntl
import os
from pathlib import Path
from typing import Protocol

ZEROS_BYTES = 1024 * 1024
FILE_MODE = 0o600  # messages and names of clients are in it


class Disk(Protocol):
    """Files of one directory; every method may raise OSError."""

    def lock(self, directory: Path) -> int:
        """Make the directory if needed and keep others out of it; BlockingIOError if in use."""

    def list(self, directory: Path) -> dict[str, int]:
        """Return names and sizes of what is in a directory."""

    def read(self, path: Path) -> bytes:
        """Return a whole file."""

    def create(self, path: Path, size: int) -> int:
        """Open a new file of zeros; nothing is left of it when there is no room."""

    def write(self, file: int, content: bytes, offset: int) -> None:
        """Write all of it there."""

    def sync(self, file: int) -> None:
        """Return when everything written to the file is on the disk."""

    def sync_directory(self, directory: Path) -> None:
        """Return when files made and removed are so on the disk."""

    def shorten(self, path: Path, size: int) -> None:
        """Give back the room behind the first size bytes."""

    def rename(self, path: Path, new: Path) -> None:
        """Give a file another name, that of another file if there is one."""

    def open(self, path: Path) -> int:
        """Open a file to be written."""

    def remove(self, path: Path) -> None:
        """Remove a file."""

    def close(self, file: int) -> None:
        """Close a file, or let go of a lock."""


class RealDisk:
    """The operating system's."""

    def lock(self, directory: Path) -> int:
        """Make the directory if needed and keep others out of it; BlockingIOError if in use."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise
        return file

    def list(self, directory: Path) -> dict[str, int]:
        """Return names and sizes of what is in a directory."""
        with os.scandir(directory) as entries:
            return {entry.name: entry.stat().st_size for entry in entries}

    def read(self, path: Path) -> bytes:
        """Return a whole file."""
        return path.read_bytes()

    def create(self, path: Path, size: int) -> int:
        """Open a new file of zeros; nothing is left of it when there is no room."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            # Zeros, not fallocate(): room that was never written costs the file system a journal
            # entry of 12 KiB (ext4) at each sync. docs/adr/0006-journal.md
            for offset in range(0, size, ZEROS_BYTES):
                self.write(file, bytes(min(ZEROS_BYTES, size - offset)), offset)
        except OSError:
            os.close(file)
            path.unlink()
            raise
        return file

    def write(self, file: int, content: bytes, offset: int) -> None:
        """Write all of it there."""
        view = memoryview(content)
        while view:
            written = os.pwrite(file, view, offset)
            view = view[written:]
            offset += written

    def sync(self, file: int) -> None:
        """Return when everything written to the file is on the disk."""
        os.fdatasync(file)

    def sync_directory(self, directory: Path) -> None:
        """Return when files made and removed are so on the disk."""
        file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def shorten(self, path: Path, size: int) -> None:
        """Give back the room behind the first size bytes."""
        os.truncate(path, size)

    def rename(self, path: Path, new: Path) -> None:
        """Give a file another name, that of another file if there is one."""
        path.replace(new)

    def open(self, path: Path) -> int:
        """Open a file to be written."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def close(self, file: int) -> None:
        """Close a file, or let go of a lock."""
        os.close(file)
