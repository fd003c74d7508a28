"""Restricts file access, TCP and signals of this process with Landlock.

The three system calls have no C library function, and the bindings on PyPI are alpha or beta
(docs/adr/0012-isolation.md). Rights that the kernel does not know are left out: ABI 4 (Linux 6.7)
adds TCP, ABI 6 (Linux 6.12) abstract Unix sockets and signals.
"""

import contextlib
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from microservice.isolation.kernel import syscall

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


def restrict(rules: Iterable[tuple[str, int]], *, forbid_tcp: bool) -> None:
    """Allow only the rights of each path from now on; OSError when the kernel has no Landlock.

    Args:
        rules: paths and their rights; a path that cannot be opened is left out.
        forbid_tcp: for a process without a network namespace of its own.
    """
    abi = syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    handled = all_rights(abi)
    tcp = _TCP if forbid_tcp and abi >= ABI_TCP else 0
    scopes = _SCOPES if abi >= ABI_SCOPES else 0
    attributes = struct.pack("=QQQ", handled, tcp, scopes)
    size = 24 if abi >= ABI_SCOPES else 16 if abi >= ABI_TCP else 8
    ruleset = syscall(_CREATE_RULESET, attributes, size, 0)
    try:
        for path, rights in rules:
            with contextlib.suppress(FileNotFoundError, PermissionError):
                _allow(ruleset, path, rights & handled)
        syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not Path(path).is_dir():
            rights &= _FILE_RIGHTS
        syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)
