"""Enters cgroups, and reads their limits from inside the container.

The files are opened before the container gets a root file system without cgroups. The probe reads
them afterwards, so that it reports what the kernel has and not what somebody wrote.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

# by finding: the file of version 2, then of version 1, and the texts for "no limit"
_FILES = {
    "memory": ("memory.max", "memory.limit_in_bytes"),
    "cpu": ("cpu.max", "cpu.cfs_quota_us"),
    "processes": ("pids.max", "pids.max"),
}
_READ_BYTES = 16 * 1024
_UNLIMITED_BYTES = 1 << 62  # version 1 shows a number near 2^63


@dataclass(slots=True)
class CgroupFiles:
    """The open limit files of a container's cgroups."""

    opened: dict[str, list[int]]
    folders: tuple[str, ...]
    errors: list[str]

    def limit(self, finding: str) -> str:
        """Return the limit that the kernel has; "" when there is none."""
        for fd in self.opened.get(finding, ()):
            with contextlib.suppress(OSError):
                words = os.pread(fd, 100, 0).decode().split()
                if words and is_limit(words[0]):
                    return words[0]
        return ""

    def is_member(self) -> bool:
        """Return whether this process is in the cgroups, as the kernel says."""
        lines = read_own("cgroup").splitlines()
        ends = [folder[folder.rindex("/") :] for folder in self.folders]
        return bool(ends) and all(any(line.endswith(end) for line in lines) for end in ends)

    def close(self) -> None:
        """Close the files."""
        for fds in self.opened.values():
            for fd in fds:
                os.close(fd)
        self.opened.clear()


def join_cgroups(folders: tuple[str, ...]) -> CgroupFiles:
    """Move this process into cgroups, and open their limit files."""
    joined = CgroupFiles({}, folders, [])
    for folder in folders:
        try:
            Path(folder, "cgroup.procs").write_text("0")
        except OSError as exc:
            joined.errors.append(f"{folder}: {exc.strerror}")
    for finding, names in _FILES.items():
        for folder in folders:
            for name in dict.fromkeys(names):
                with contextlib.suppress(OSError):
                    fd = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
                    joined.opened.setdefault(finding, []).append(fd)
    return joined


def read_own(name: str) -> str:
    """Return a file of /proc/self."""
    # speed: a launch runs this once, where pathlib costs more than the kernel
    fd = os.open(f"/proc/self/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _READ_BYTES).decode()
    finally:
        os.close(fd)


def is_limit(text: str) -> bool:
    """Return whether the first word of a limit file is a limit."""
    return text.isdecimal() and int(text) < _UNLIMITED_BYTES
