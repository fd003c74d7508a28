"""Ends everything that a process started, where there is no pid namespace.

A process group is not enough: a child that calls setsid() leaves it. The process is the subreaper
of its descendants: an orphan stays a descendant, as long as the process itself lives.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

PASSES = 50  # a member may fork while it is being ended
PAUSE_S = 0.005


def kill_descendants(pid: int) -> None:
    """Kill the descendants of a process, not the process; blocks."""
    for _ in range(PASSES):
        found = descendants(pid)
        if not found:
            return
        for one in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one, signal.SIGKILL)
        time.sleep(PAUSE_S)


def descendants(pid: int) -> set[int]:
    """Return the descendants that are not dead."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError):
            # the command's name, in parentheses, may hold anything
            stat = (entry / "stat").read_bytes()
            state, parent = stat.rpartition(b")")[2].split()[:2]
            if state not in (b"Z", b"X"):
                parents[int(entry.name)] = int(parent)
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {pid}
