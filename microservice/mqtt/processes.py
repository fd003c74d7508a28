"""Ends the processes that a handler has started and left behind."""

import contextlib
import os
import signal
import time
from pathlib import Path

PASSES = 50  # a process may fork while it is being ended
PAUSE_S = 0.01
STATE, PARENT, STARTED = 0, 1, 19  # fields of /proc/<pid>/stat behind the command's name


def end_children(since: float) -> int:
    """Kill the children of this process that are younger than an instant, and all below them.

    Blocks. Which handler has started a child cannot be known: with several at once, a child of
    another one may be among them, whose message is then tried again.

    Args:
        since: an instant of time.monotonic().

    Returns:
        The number of processes.
    """
    age_s = time.monotonic() - since
    first = (time.clock_gettime(time.CLOCK_BOOTTIME) - age_s) * os.sysconf("SC_CLK_TCK") - 1
    ended: set[int] = set()
    for _ in range(PASSES):
        found, dead = _find(first)
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found and not dead & ended:
            break
        ended |= found
        time.sleep(PAUSE_S)
    for pid in _find(first)[1] & ended:  # nobody waits for them
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return len(ended)


def _find(first: float) -> tuple[set[int], set[int]]:
    """Return the living descendants by way of children that started since, and dead children."""
    own = os.getpid()
    parents: dict[int, int] = {}
    roots, dead = set(), set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            # the command's name, in parentheses, may hold anything
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            pid, parent = int(entry.name), int(fields[PARENT])
            if parent == own and int(fields[STARTED]) < first:
                continue
            if fields[STATE] in (b"Z", b"X"):
                if parent == own:
                    dead.add(pid)
                continue
            parents[pid] = parent
            if parent == own:
                roots.add(pid)
    while grown := {pid for pid, parent in parents.items() if parent in roots} - roots:
        roots |= grown
    return roots, dead
