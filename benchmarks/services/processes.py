"""Starts and ends programs; reads processor time and memory of a process and all below it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.brokers import ROOT

STOP_S = 15.0
KIB_PER_MIB = 1024.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@contextmanager
def program(
    command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program whose output goes into a file; it is gone afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()


def tree(pid: int) -> set[int]:
    """Return a process and all that it has started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found


def cpu_s(pids: Set[int], *, with_ended: bool = False) -> float:
    """Return the processor time of processes, and that of children that have ended."""
    seconds = 0.0
    for pid in pids:
        with suppress(OSError):
            # the clock that clock_getcpuclockid(3) gives for a process, to the nanosecond
            seconds += time.clock_gettime(~pid << 3 | 2)
            if with_ended:
                seconds += sum(int(each) for each in _stat(pid)[13:15]) / TICKS_PER_S
    return seconds


def pss_mib(pids: Set[int]) -> float:
    """Return the memory of processes; a page that several share counts in parts."""
    kib = 0
    for pid in pids:
        with suppress(OSError):
            found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
            kib += int(found[1]) if found else 0
    return kib / KIB_PER_MIB


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    found = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(found[1]) / KIB_PER_MIB if found else 0.0


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the state on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
