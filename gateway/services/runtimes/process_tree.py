"""Ends a process together with everything it started.

A process group is not enough: a child that calls setsid() leaves it. The members are found in
/proc: children, their children, and whatever has the mark in the environment it was started with
(a fork keeps it, also when its parent is gone).
"""

import contextlib
import os
import signal
import time
from pathlib import Path

PASSES = 50  # a member may fork while it is being ended
PAUSE_S = 0.005


def end_tree(pid: int, mark: str) -> None:
    """Kill the process, its group, its descendants and all that carry the mark; blocks.

    Args:
        pid: the process, which leads its group; may be gone already.
        mark: a text of the environment that no other process has.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for _ in range(PASSES):
        found = members(pid, mark)
        if not found:
            return
        for one in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one, signal.SIGKILL)
        time.sleep(PAUSE_S)


def members(pid: int, mark: str) -> set[int]:
    """Return the processes of the tree that are not dead, the first one left out."""
    wanted = mark.encode()
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError):
            # the command's name, in parentheses, may hold anything
            state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state in (b"Z", b"X"):
                continue
            parents[int(entry.name)] = int(parent)
            if wanted in (entry / "environ").read_bytes():
                found.add(int(entry.name))
    roots = {pid} | found
    while grown := {child for child, parent in parents.items() if parent in roots} - roots:
        roots |= grown
    return roots & set(parents) - {pid, os.getpid()}
