"""Measures the room that is left on a disk."""

import os
from pathlib import Path


def free_bytes(folder: Path) -> int:
    """Return the bytes that this process may still write to the file system of a folder. Blocks."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
