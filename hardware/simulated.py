"""Simulates a board: the real MicroPython interpreter runs the device package. Does I/O.

The board's flash is a directory. start() copies the package, a program and config.json to it, as
an installer does with mpremote, and then runs main.py as a board does after power-on.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hardware.boundedlog import BoundedLog
from hardware.device_package import NOT_IN_PACKAGE, PACKAGE
from settings.secret import Secret

logger = logging.getLogger(__name__)

LOG_NAME = "board.log"
CREDENTIALS = "credentials.json"  # written by the device once it has joined
HEAP = "512K"  # 256 KiB of a 32-bit board: enough to compile the package's sources

_WATCHDOG = "watchdog"  # the program writes the seconds that it may be silent, again and again
_CAUSE = "reset-cause"
_LOOK_S = 0.5
_STOP_TIMEOUT_S = 5.0
_LINE_LIMIT = 64 * 1024
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")  # nothing else: it may hold secrets


class SimulatedBoardError(Exception):
    """A simulated board cannot be started; the message reads "cannot X: why"."""


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """Holds the settings that an installer gives a device."""

    name: str
    model: str
    host: str
    port: int
    claim_token: Secret | None = None
    interval_s: float = 5.0
    more: Mapping[str, object] = field(default_factory=dict)  # further keys of config.json


@dataclass(frozen=True, slots=True)
class BoardLimits:
    """Limits the restarts of a program that ends, the output that is kept, and the memory."""

    restart_first_s: float = 0.5
    restart_cap_s: float = 30.0
    steady_s: float = 30.0  # a program that ran so long was a good one
    log_bytes: int = 256 * 1024
    heap: str = HEAP


def find_micropython() -> Path:
    """Return the interpreter; SimulatedBoardError explains how to install it."""
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("micropython")
    if found is None:
        raise SimulatedBoardError(
            "cannot simulate devices: micropython not found; pip install 'hecate-gateway[simulate]'"
        )
    return Path(found)


class SimulatedBoard:
    """One board; start() switches it on, stop() cuts its power."""

    def __init__(
        self,
        directory: Path,
        settings: DeviceSettings,
        program: Path | None = None,
        limits: BoardLimits | None = None,
        package: Path = PACKAGE,  # the sources, or what mpy-cross made of them
        echo: Callable[[bytes], None] | None = None,  # called with the program's output
    ) -> None:
        self.directory = directory
        self._package = package
        self._echo = echo
        self.settings = settings
        self.restarts = 0
        self._program = program or PACKAGE / "main.py"
        self._limits = limits or BoardLimits()
        self._log = BoundedLog(directory / LOG_NAME, self._limits.log_bytes)
        self._process: asyncio.subprocess.Process | None = None
        self._owner: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The interpreter's process id, or None while it does not run."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else None

    @property
    def device_id(self) -> str | None:
        """The id the gateway gave it, or None before it has joined."""
        try:
            stored = json.loads((self.directory / CREDENTIALS).read_text())
        except FileNotFoundError:
            return None
        return str(stored["device_id"])

    @property
    def log_path(self) -> Path:
        """The file that the board's output goes to."""
        return self._log.path

    async def start(self) -> None:
        """Fill the flash and switch on; SimulatedBoardError when that is not possible."""
        if self._owner is not None:
            return
        interpreter = find_micropython()
        try:
            flash_board(self.directory, self.settings, self._program, self._package)
            process = await self._spawn(interpreter, "power")
        except OSError as exc:
            raise SimulatedBoardError(f"cannot start board {self.settings.name}: {exc}") from exc
        self._owner = asyncio.create_task(
            self._keep_running(interpreter), name=f"board {self.settings.name}"
        )
        logger.info("board %s started, pid %s", self.settings.name, process.pid)

    async def stop(self) -> None:
        """Cut the power; returns when the interpreter has ended."""
        owner, self._owner = self._owner, None
        if owner is None:
            return
        owner.cancel()
        with suppress(asyncio.CancelledError):
            await owner
        await self._end_process()  # here, for a task that is cancelled early runs no finally
        logger.info("board %s stopped", self.settings.name)

    async def _spawn(self, interpreter: Path, cause: str) -> asyncio.subprocess.Process:
        (self.directory / _WATCHDOG).unlink(missing_ok=True)
        (self.directory / _CAUSE).write_text(cause)
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment["MICROPYPATH"] = f".frozen:{self.directory.resolve() / 'lib'}"
        environment["HECATE_BOARD_POWER"] = "stdin"
        self._process = await asyncio.create_subprocess_exec(
            str(interpreter),
            "-X",
            f"heapsize={self._limits.heap}",
            "main.py",
            stdin=asyncio.subprocess.PIPE,  # held open: the board ends when we do
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.directory,
            env=environment,
            umask=0o077,
            start_new_session=True,  # a Ctrl-C at our terminal is not for it
            limit=_LINE_LIMIT,
        )
        return self._process

    async def _keep_running(self, interpreter: Path) -> None:
        delay_s = self._limits.restart_first_s
        cause = "power"
        while True:
            started = time.monotonic()
            try:
                process = self._process or await self._spawn(interpreter, cause)
                watchdog = asyncio.create_task(self._guard(process))
                try:
                    code = await self._watch(process)
                finally:
                    watchdog.cancel()
                is_power = code == -signal.SIGKILL and not self._is_overdue()
                cause = "power" if is_power else "reset"
                ending = f"the program ended with {code}"
            except OSError as exc:
                ending = str(exc)
            await self._end_process()
            if time.monotonic() - started >= self._limits.steady_s:
                delay_s = self._limits.restart_first_s
            self.restarts += 1
            name = self.settings.name
            logger.warning("board %s: %s; again in %.1f s", name, ending, delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, self._limits.restart_cap_s)

    async def _guard(self, process: asyncio.subprocess.Process) -> None:
        """Reset the board, as a chip's watchdog does, when its program feeds it no more."""
        while not self._is_overdue():  # noqa: ASYNC110  # a file that is not written tells nobody
            await asyncio.sleep(_LOOK_S)
        logger.warning("board %s: reset by its watchdog", self.settings.name)
        with suppress(ProcessLookupError):
            process.kill()

    def _is_overdue(self) -> bool:
        path = self.directory / _WATCHDOG
        try:
            return time.time() - path.stat().st_mtime > float(path.read_text() or 8)
        except (OSError, ValueError):
            return False

    async def _watch(self, process: asyncio.subprocess.Process) -> int:
        """Copy the program's output until it ends; return its exit code."""
        assert process.stdout is not None
        complained = False
        while output := await process.stdout.read(_LINE_LIMIT):
            if self._echo is not None:
                self._echo(output)
            try:
                self._log.write(output)
            except OSError as exc:  # a full disk must not stop the board
                if not complained:
                    logger.warning("board %s: cannot keep its output: %s", self.settings.name, exc)
                complained = True
        return await process.wait()

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        if process.stdout is not None:  # else its pipe may outlive the loop
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    while await process.stdout.read(_LINE_LIMIT):
                        pass


def flash_board(
    directory: Path, settings: DeviceSettings, program: Path, package: Path = PACKAGE
) -> None:
    """Write the package, the program, the configuration and the claim token of a board.

    What the board has written itself, its credentials among it, stays.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {*package.rglob("*.py"), *package.rglob("*.mpy")}
    for source in sorted(files - NOT_IN_PACKAGE):
        target = directory / "lib" / "device" / source.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    shutil.copyfile(program, directory / "main.py")
    config = {
        "name": settings.name,
        "model": settings.model,
        "host": settings.host,
        "port": settings.port,
        "interval_s": settings.interval_s,
        **settings.more,
    }
    write_private(directory / "config.json", json.dumps(config, ensure_ascii=False))
    if settings.claim_token is not None:
        write_private(directory / "claim", settings.claim_token.reveal())


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
