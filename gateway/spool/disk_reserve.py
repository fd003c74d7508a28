"""Reserves space of a file system for the time when the file system is full."""

import os
from pathlib import Path


class DiskReserve:
    """A file without content that occupies space; its release lets deletions continue."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path, self._size_bytes = path, size_bytes
        self._is_held = False

    def take(self) -> bool:
        """Take the space if twice as much is free; return whether it is taken."""
        if self._is_held:
            return True
        try:
            self._is_held = self._path.stat().st_blocks * 512 >= self._size_bytes
        except FileNotFoundError:
            pass
        except OSError:
            return False
        if not self._is_held and self._free_bytes() >= 2 * self._size_bytes:
            self._allocate()
        return self._is_held

    def release(self) -> bool:
        """Free the space for the next write; return whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        self._is_held = False
        return True

    def _free_bytes(self) -> int:
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 0
        return disk.f_bavail * disk.f_frsize

    def _allocate(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            finally:
                os.close(descriptor)
            self._is_held = True
        except OSError:
            self._path.unlink(missing_ok=True)
