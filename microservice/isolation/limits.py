"""Limits what the process and its descendants take of the machine, without cgroups."""

import contextlib
import os
import resource
from pathlib import Path

from microservice.isolation.spec import ContainerSpec

MIB = 1024 * 1024
NICENESS = 5  # the broker and the gateway come first when the processor is short
OOM_SCORE = 500  # the kernel ends a container before the gateway when the machine has no memory
OVERHEAD_PROCESSES = 2  # the init process and the front


def give_way() -> None:
    """Let other processes come first: at the processor, and when memory runs out."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


def set_limits(spec: ContainerSpec, *, by_user: bool) -> None:
    """Set the limits of the process; they hold for each process that it starts.

    Memory that the interpreter and the kit have mapped already does not count, so that the number
    means the service's own memory.

    Args:
        spec: the limits.
        by_user: limit the processes of the user. That counts those of every container with this
            uid, of other gateways and of the user too: only for a container that has a uid or a
            user namespace of its own, where no cgroup limits it.
    """
    _set(resource.RLIMIT_AS, mapped_bytes() + spec.memory_mib * MIB)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NOFILE, spec.open_files)
    if by_user:
        _set(resource.RLIMIT_NPROC, spec.processes + OVERHEAD_PROCESSES)
    os.umask(0o077)


def mapped_bytes() -> int:
    """Return the address space that is in use."""
    fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, 200).split()[0]) * resource.getpagesize()
    finally:
        os.close(fd)


def _set(what: int, wanted: int) -> None:
    _, hard = resource.getrlimit(what)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(what, (limit, limit))
