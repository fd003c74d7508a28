"""Measures how much processor time a process could have had, whatever else the machine does.

A twin is a second process that works half of the time and counts its laps while a test waits for
something. On a quiet machine its laps are as long as the wall clock says. On a machine that is
busy, or stands still, they are longer, and so is what the test waits for: so a test that must
judge time compares with the laps.

    with Twin() as twin:
        ...
    assert twin.elapsed_s < 5
"""

import subprocess
import sys
import time
from types import TracebackType
from typing import Self

LAP_S = 0.01  # half of it work
LOOP = f"""
import sys, time
write, work = sys.stdout.buffer.raw.write, time.process_time
while True:
    end = work() + {LAP_S / 2}
    while work() < end:
        pass
    time.sleep({LAP_S / 2})
    write(b'.')
"""


class Twin:
    """Counts laps from its beginning to its end; a context."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", "-c", LOOP]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._begin = self._wall_s = 0.0
        self._laps = 0

    @property
    def elapsed_s(self) -> float:
        """The time it took, never more than the wall clock's."""
        return min(self._wall_s, (self._laps + 1) * LAP_S)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        self._process.stdout.read(1)  # it runs
        self._begin = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wall_s = time.monotonic() - self._begin
        self._process.kill()
        left, _ = self._process.communicate()
        self._laps = len(left)
