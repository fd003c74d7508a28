"""Restricts file access, TCP and signals of this process with Landlock.

The three system calls have no C library function, and the bindings on PyPI are alpha or beta
(docs/adr/0012-isolation.md). Rights that the kernel does not know are left out: ABI 4 (Linux 6.7)
adds TCP, ABI 6 (Linux 6.12) abstract Unix sockets and signals.
"""

import contextlib
import os
import stat
import struct
from collections.abc import Iterable

from microservice.isolation.kernel import open_root, syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_VERSION_FLAG, _PATH_BENEATH = 1, 1

# linux/landlock.h
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ALL_OF_ABI_1 = (1 << 13) - 1
_ADDED = ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # of what is no folder
_MAKE_DEVICES = (1 << 6) | (1 << 11)  # character and block devices
_TCP = 3  # bind and connect
_SCOPES = 3  # abstract Unix sockets, signals
ABI_TCP, ABI_SCOPES = 4, 6

READ = READ_FILE | READ_DIR
READ_AND_EXECUTE = READ | EXECUTE


def landlock_abi() -> int:
    """Return the version of Landlock in the kernel; 0 when there is none."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def all_rights(abi: int) -> int:
    """Return every right on files that a version knows."""
    rights = _ALL_OF_ABI_1
    for since, right in _ADDED:
        if abi >= since:
            rights |= right
    return rights


def writable_rights(abi: int) -> int:
    """Return the rights in a folder for data: all but to execute and to make devices."""
    return all_rights(abi) & ~(EXECUTE | _MAKE_DEVICES)


class Ruleset:
    """Paths and the rights on each; this process has no others after enforce()."""

    def __init__(self, *, forbid_tcp: bool) -> None:
        """Make one without a path; OSError when the kernel has no Landlock.

        Args:
            forbid_tcp: for a process without a network namespace of its own.
        """
        abi = syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
        self._handled = all_rights(abi)
        tcp = _TCP if forbid_tcp and abi >= ABI_TCP else 0
        scopes = _SCOPES if abi >= ABI_SCOPES else 0
        attributes = struct.pack("=QQQ", self._handled, tcp, scopes)
        size = 24 if abi >= ABI_SCOPES else 16 if abi >= ABI_TCP else 8
        self._fd = syscall(_CREATE_RULESET, attributes, size, 0)

    def allow(self, rules: Iterable[tuple[str, int]], root: str = "/") -> None:
        """Add paths and their rights; a path that cannot be opened is left out.

        Args:
            rules: absolute paths.
            root: the folder that is the root for them, and will be that of the process.
        """
        with open_root(root) as open_path:
            for path, rights in rules:
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    self._allow(open_path(path), rights & self._handled)

    def enforce(self) -> None:
        """Restrict this process and all that it starts."""
        try:
            syscall(_RESTRICT_SELF, self._fd, 0)
        finally:
            self.close()

    def close(self) -> None:
        """Forget the rules."""
        os.close(self._fd)

    def _allow(self, fd: int, rights: int) -> None:
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                rights &= _FILE_RIGHTS
            syscall(_ADD_RULE, self._fd, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
        finally:
            os.close(fd)
