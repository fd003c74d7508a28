"""Starts programs for tests, waits for their output, and ends them by process id."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")

# Stretches every wait: only what hangs may reach its end, on a machine that is five times as slow
# as a quiet one, too.
PATIENCE = float(os.environ.get("HECATE_TEST_PATIENCE", "3"))
FIRST_LOOK_S, LAST_LOOK_S = 0.002, 0.05  # pauses of until(): most of what it waits for is near
HECATE = (sys.executable, "-m", "gateway")
ROOT = Path(__file__).resolve().parent.parent


class Program:
    """A running program whose lines can be waited for; a context that ends it."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str] | None = None, cwd: Path = ROOT
    ) -> None:
        self.lines: list[str] = []
        self.read_at: list[float] = []  # the monotonic time of each line
        self._command = command
        self._fresh: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env={**os.environ, "NO_COLOR": "1", **(environ or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str, timeout_s: float = 30) -> re.Match[str]:
        """Return the match in the first line, from now on, that holds the pattern."""
        deadline = time.monotonic() + timeout_s * PATIENCE
        while True:
            try:
                line = self._fresh.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            match = re.search(pattern, line) if line is not None else None
            if match:
                return match
            if line is None:
                told = "".join(self.lines[-40:])
                raise AssertionError(
                    f"no line {pattern!r} from {self._command[-3:]}; it said:\n{told}"
                )

    def stop(self, with_signal: signal.Signals = signal.SIGTERM, timeout_s: float = 15) -> int:
        """End the program as a person would; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """End the program as a power cut would."""
        self.process.kill()
        self.wait()

    def wait(self, timeout_s: float = 15) -> int:
        """Wait for the end; return the exit code."""
        try:
            code = self.process.wait(timeout_s * PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            if self.process.stdout:
                self.process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.read_at.append(time.monotonic())
            self.lines.append(line)
            self._fresh.put(line.rstrip("\n"))
        self._fresh.put(None)


def until(condition: Callable[[], T], what: str = "a condition", timeout_s: float = 20) -> T:
    """Return the condition's first true value; fail when there is none in time.

    A condition whose assertion fails is not true yet; the last failure is shown as the cause.
    """
    deadline = time.monotonic() + timeout_s * PATIENCE
    pause_s = FIRST_LOOK_S
    while True:
        failure: AssertionError | None = None
        try:
            value = condition()
        except AssertionError as exc:
            failure = exc
        else:
            if value:
                return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain: {what}") from failure
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LAST_LOOK_S)


def run(command: Sequence[str] | str, timeout_s: float = 60, **environ: str) -> str:
    """Run a command (a text goes to bash) to its end; return what it printed; fail if it failed."""
    argv = ["bash", "-ec", command] if isinstance(command, str) else list(command)
    result = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=timeout_s * PATIENCE,
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1", **environ},
    )
    assert result.returncode == 0, f"{argv} ended with {result.returncode}: {result.stderr}"
    return result.stdout
