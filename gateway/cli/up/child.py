"""Runs one part of the system as a child process: its output, its ready line, its end."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from gateway.cli.errors import CliError
from hardware.boundedlog import BoundedLog

T = TypeVar("T")
PATIENCE_S = 8.0  # for a clean end, before SIGKILL
LINE_LIMIT_BYTES = 64 * 1024  # a longer line is logged in pieces
LOG_LIMIT_BYTES = 8 * 1024 * 1024  # per part and run: what a person may still want to read
TAIL_LINES = 12  # enough to see why a part died
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Child:
    """A process that writes to a log and dies with us."""

    def __init__(self, name: str, log_path: Path, patience_s: float = PATIENCE_S) -> None:
        self.name, self.log_path = name, log_path
        self._patience_s = patience_s
        self._log = BoundedLog(log_path, LOG_LIMIT_BYTES)
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._on_line: Callable[[str], None] | None = None

    async def start(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        parse: Callable[[str], T | None],
        timeout_s: float,
    ) -> T:
        """Start Python with arguments; return what parse makes of the ready line.

        Raises:
            CliError: it ended or was silent for too long; the text holds the end of its log.
        """
        ready: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def look(line: str) -> None:
            parsed = parse(line)
            if parsed is not None and not ready.done():
                ready.set_result(parsed)

        self._on_line = look
        _turn_over(self.log_path)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env={**environ, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; we end the children in order
            preexec_fn=_die_with_parent(),  # one call, prepared before the fork
        )
        self._reader = asyncio.create_task(self._read(), name=f"log of {self.name}")
        try:
            done, _ = await asyncio.wait(
                (ready, self._reader), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._on_line = None
        if ready in done:
            return ready.result()
        ready.cancel()
        if self._reader in done:
            raise CliError(f"cannot start {self.name}: it {self._end()}{self._said()}")
        raise CliError(f"cannot start {self.name}: not ready after {timeout_s:.0f} s{self._said()}")

    @property
    def pid(self) -> int:
        """The process's id; 0 when it has ended, or was not started."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else 0

    async def wait(self) -> None:
        """Return when the process has ended and all its output is in the log."""
        if self._reader is not None:
            await asyncio.shield(self._reader)

    def end(self) -> str:
        """Return how the process ended, such as "ended with SIGKILL"."""
        return self._end()

    def death(self) -> CliError:
        """Return the error for this child's end."""
        return CliError(f"cannot continue: {self.name} {self._end()}{self._said()}")

    async def stop(self) -> None:
        """End the process: gently at first, then by force."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), self._patience_s)
            except TimeoutError:
                self._take(f"killed: it did not end within {self._patience_s:.0f} s".encode())
                self.kill()
                await process.wait()
        if self._reader is not None:
            # a grandchild that lives on would hold the pipe open
            await asyncio.wait((self._reader,), timeout=1)
            self._reader.cancel()

    def kill(self) -> None:
        """End the process and what it started, now."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _read(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        rest = b""
        while chunk := await process.stdout.read(LINE_LIMIT_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)
            if len(rest) > LINE_LIMIT_BYTES:
                self._take(rest)
                rest = b""
        if rest:
            self._take(rest)
        await process.wait()

    def _take(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self._tail.append(text)
        with contextlib.suppress(OSError):  # a full disk must not end the system
            self._log.write(line + b"\n")
        if self._on_line is not None:
            self._on_line(text)

    def _end(self) -> str:
        code = self._process.returncode if self._process else None
        return "ended" if code is None else f"ended with {_how(code)}"

    def _said(self) -> str:
        tail = "\n".join(f"  {line}" for line in self._tail)
        return f"; its log {self.log_path} ends with:\n{tail}" if tail else "; it said nothing"


def _turn_over(path: Path) -> None:
    """Keep the log of the run before beside the one that begins."""
    if path.exists():
        path.replace(path.with_name(path.name + ".1"))


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _die_with_parent() -> Callable[[], None] | None:
    """Return what makes a child end when we are killed, where the system can."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # loaded here: nothing may be after the fork

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return ask
