"""Describes the machine: its cores, and the kernel's figures of a process."""

import os
import platform
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Cpu


@dataclass(frozen=True, slots=True)
class Cores:
    """Assigns cores to the two sides of a run; both share one where there is only one."""

    broker: int
    generator: int

    @property
    def are_apart(self) -> bool:
        """Return whether broker and generator do not compete."""
        return self.broker != self.generator


def choose_cores() -> Cores:
    """Return the first core for the broker and the second for the generator."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[1] if len(allowed) > 1 else allowed[0])


def raise_file_limit() -> int:
    """Allow as many open files as the system grants, for us and the brokers we start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def read_cpu(pid: int) -> Cpu:
    """Return the processor time of a broker, in all its threads, and of this process."""
    # the clock that clock_getcpuclockid(3) gives for a process, to the nanosecond
    return Cpu(time.clock_gettime(~pid << 3 | 2), time.process_time())


def read_memory(pid: int) -> int:
    """Return the resident bytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def describe_machine(folder: Path) -> dict[str, str]:
    """Return what a reader needs to compare this run with another; brokers' files are in folder."""
    cores = f"{len(os.sched_getaffinity(0))} cores used of {os.cpu_count()}"
    return {
        "processor": f"{_read_model()}, {cores}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{_read_release()}, Linux {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "files of the brokers": f"on {_read_file_system(folder)}",
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


def _read_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _read_release() -> str:
    with suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return "Linux"


def _read_file_system(folder: Path) -> str:
    """Return the kind of file system a folder is on: syncing to one in memory costs nothing."""
    found = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if folder.resolve().is_relative_to(place) and len(place) >= len(found[0]):
            found = (place, kind)
    return found[1]
