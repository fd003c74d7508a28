"""A disk in memory that records what is done to it, and shows what a power cut could leave.

Sectors of 512 bytes reach the disk whole, or torn in one place, in any order, until a sync.
So do the names of files made or removed, until a sync_directory().
"""

import errno
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECTOR = 512


@dataclass
class File:
    """content is what a reader sees; stable is what survives a power cut for sure."""

    content: bytearray = field(default_factory=bytearray)
    stable: bytearray = field(default_factory=bytearray)
    dirty: list[tuple[int, bytes]] = field(default_factory=list)  # writes since the last sync


Snapshot = dict[str, bytes]


class SimDisk:
    """Implements the journal's Disk; cut() may be called at any moment."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.room = room
        self.files: dict[str, File] = {}
        self.names: dict[str, File] = {}  # the directory as it is on the disk for sure
        self.pending_names: list[dict[str, File | None]] = []
        self.open_files: dict[int, File] = {}
        self.operations = 0
        self.written = 0
        self.on_operation: Any = lambda: None
        self.fail: dict[str, OSError] = {}  # by operation
        self._next = 3
        self._locked = False

    @classmethod
    def of(cls, snapshot: Snapshot) -> "SimDisk":
        disk = cls()
        for name, content in snapshot.items():
            disk.files[name] = File(bytearray(content), bytearray(content))
        disk.names = dict(disk.files)
        return disk

    def cut(self, chance: random.Random) -> Snapshot:
        """Return what may be on the disk if the power goes now."""
        names = dict(self.names)
        for change in self.pending_names:
            if chance.random() < 0.5:
                continue
            for name, file in change.items():
                if file is None:
                    names.pop(name, None)
                else:
                    names[name] = file
        return {name: self._cut_file(file, chance) for name, file in names.items()}

    def kill(self) -> Snapshot:
        """Return what is there if only the process dies."""
        return {name: bytes(file.content) for name, file in self.files.items()}

    def _cut_file(self, file: File, chance: random.Random) -> bytes:
        result = bytearray(file.stable)
        style = chance.choice(("none", "all", "some", "prefix"))
        for offset, content in file.dirty:
            sectors = _split(offset, content)
            if style == "prefix":
                sectors = sectors[: chance.randint(0, len(sectors))]
            for at, part in sectors:
                if style == "none" or (style == "some" and chance.random() < 0.5):
                    continue
                torn = chance.random() < 0.1
                _put(result, at, part[: chance.randint(0, len(part))] if torn else part)
            if style == "prefix":
                break
        return bytes(result)

    # -- the port --------------------------------------------------------------------------

    def lock(self, directory: Path) -> int:  # noqa: ARG002
        self._step("lock")
        if self._locked:
            raise BlockingIOError
        self._locked = True
        return 0

    def list(self, directory: Path) -> dict[str, int]:  # noqa: ARG002
        self._step("list")
        return {name: len(file.content) for name, file in self.files.items()}

    def read(self, path: Path) -> bytes:
        self._step("read")
        return bytes(self.files[path.name].content)

    def create(self, path: Path, size: int) -> int:
        self._step("create")
        if sum(len(file.content) for file in self.files.values()) + size > self.room:
            raise OSError(errno.ENOSPC, "no room")
        assert path.name not in self.files
        file = File(bytearray(size))
        self.files[path.name] = file
        self.pending_names.append({path.name: file})
        self._next += 1
        self.open_files[self._next] = file
        return self._next

    def write(self, file: int, content: bytes, offset: int) -> None:
        self._step("write")
        each = self.open_files[file]
        _put(each.content, offset, content)
        each.dirty.append((offset, bytes(content)))
        self.written += len(content)
        self._step("written")

    def sync(self, file: int) -> None:
        self._step("sync")
        each = self.open_files[file]
        each.stable, each.dirty = bytearray(each.content), []

    def sync_directory(self, directory: Path) -> None:  # noqa: ARG002
        self._step("sync_directory")
        self.names, self.pending_names = dict(self.files), []

    def shorten(self, path: Path, size: int) -> None:
        self._step("shorten")
        file = self.files[path.name]
        del file.content[size:]
        del file.stable[size:]

    def rename(self, path: Path, new: Path) -> None:
        self._step("rename")
        file = self.files[new.name] = self.files.pop(path.name)
        self.pending_names.append({path.name: None, new.name: file})

    def open(self, path: Path) -> int:
        self._step("open")
        self._next += 1
        self.open_files[self._next] = self.files[path.name]
        return self._next

    def remove(self, path: Path) -> None:
        self._step("remove")
        del self.files[path.name]
        self.pending_names.append({path.name: None})

    def close(self, file: int) -> None:
        if file == 0:
            self._locked = False
        else:
            del self.open_files[file]

    def _step(self, operation: str) -> None:
        self.operations += 1
        self.on_operation()
        if operation in self.fail:
            raise self.fail[operation]


def _split(offset: int, content: bytes) -> list[tuple[int, bytes]]:
    parts = []
    at = offset
    while content:
        size = SECTOR - at % SECTOR
        parts.append((at, content[:size]))
        at, content = at + size, content[size:]
    return parts


def _put(target: bytearray, offset: int, content: bytes) -> None:
    if len(target) < offset + len(content):
        target.extend(bytes(offset + len(content) - len(target)))
    target[offset : offset + len(content)] = content
