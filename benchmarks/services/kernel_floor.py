"""Measures the part of a cold start that the kernel takes alone: namespaces and cgroups."""

import os
import secrets
import time

from gateway.services.runtimes.cgroups import ContainerCgroup, find_cgroups
from microservice.isolation import kernel
from microservice.isolation.cgroup_files import join_cgroups

PAUSE_S = 0.05
_NAMESPACES = (
    kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
)  # fmt: skip


def measure_kernel(count: int) -> list[float]:
    """Return the seconds of each of some processes; none when the rights do not suffice."""
    tree, times = find_cgroups(), []
    try:
        for _ in range(count):
            cgroup = tree.make(secrets.token_hex(8))
            took_s = _measure_one(cgroup)
            cgroup.remove()
            if took_s is None:
                break
            times.append(took_s)
            time.sleep(PAUSE_S)
    finally:
        tree.remove()
    return times


def _measure_one(cgroup: ContainerCgroup) -> float | None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _enter(cgroup, writing)
    os.close(writing)
    text = os.read(reading, 100)
    os.close(reading)
    os.waitpid(pid, 0)
    return int(text) / 1e9 if text else None


def _enter(cgroup: ContainerCgroup, writing: int) -> None:
    """Enter new namespaces and cgroups in this process, with a first child; write the time."""
    began = time.perf_counter_ns()
    try:
        joined = join_cgroups(tuple(str(folder) for folder in cgroup.folders))
        kernel.unshare(_NAMESPACES)
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        if not joined.errors:
            os.write(writing, str(time.perf_counter_ns() - began).encode())
    finally:
        os._exit(0)
