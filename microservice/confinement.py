"""Drops rights of the process before the developer's code runs; they cannot be regained."""

import ctypes
import os
import resource
import signal
from pathlib import Path

OPEN_FILES = 256
MIB = 1024 * 1024

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def confine(memory_mib: int) -> None:
    """Give up new privileges, core dumps, many files, and more memory than memory_mib from now on.

    Memory that the interpreter and the kit have mapped already does not count, so that the
    number means the service's own memory.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for option, argument in (
        (_PR_SET_NO_NEW_PRIVS, 1),
        (_PR_SET_PDEATHSIG, signal.SIGKILL),  # in case the closed control socket does not end it
    ):
        if libc.prctl(option, argument, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot confine the process: prctl")
    limit = _mapped_bytes() + memory_mib * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.umask(0o077)


def _mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
