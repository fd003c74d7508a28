"""Puts the unix port behind a pseudo-terminal, so that mpremote takes it for a board.

A board that ends (a soft reset, machine.reset()) starts again. After a soft reset in the raw REPL,
which mpremote makes, main.py does not run, and the banner of the fresh interpreter is held back.
"""

import os
import pty
import select
import subprocess
import sys
import termios
import tty
from pathlib import Path
from types import TracebackType
from typing import Self

from hardware.simulated import find_micropython

BOOT = Path(__file__).parent / "board/serial/boot.py"
RAW_REPL_RESETS = b"OK\r\n"  # the last words of an interpreter that the raw REPL resets


class SerialBoard:
    """A process that owns the pseudo-terminal; a context that ends it."""

    def __init__(self, folder: Path, heap: str = "256K") -> None:
        command = [sys.executable, "-m", "tests.device.serial_board", str(folder), heap]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = self._process.stdout.readline().strip()
        assert self.port.startswith("/dev/")

    def mpremote(self, *arguments: str) -> str:
        """Return what mpremote prints; it must succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "mpremote", "connect", self.port, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()  # the end of its stdin ends it
        assert self._process.returncode == 0


class Bridge:
    """Passes bytes between the pseudo-terminal and the interpreter."""

    def __init__(self, folder: Path, heap: str) -> None:
        self._folder, self._heap = folder, heap
        self._master, slave = os.openpty()  # the slave stays open, or the master fails without it
        tty.setraw(slave)
        self._held: bytes | None = None
        self._tail = b""
        self._child, self._console = self._spawn(runs_main=True)
        sys.stdout.write(os.ttyname(slave) + "\n")
        sys.stdout.flush()

    def run(self) -> None:
        """Pass bytes until stdin ends."""
        while True:
            ready = select.select([self._master, self._console, 0], [], [])[0]
            if 0 in ready:
                os.kill(self._child, 9)
                return
            if self._master in ready:
                os.write(self._console, os.read(self._master, 4096))
            if self._console in ready:
                self._take_output()

    def _take_output(self) -> None:
        try:
            output = os.read(self._console, 4096)
        except OSError:  # Linux's answer at the end
            output = b""
        if not output:
            self._restart()
            return
        self._tail = (self._tail + output)[-16:]
        if self._held is None:
            os.write(self._master, output)
            return
        self._held += output
        banner = self._held.find(b"MicroPython ")
        if banner >= 0 and self._held.endswith(b">>> "):
            os.write(self._master, self._held[:banner])
            self._held = None
            os.write(self._console, b"\x01")  # its answer goes through

    def _restart(self) -> None:
        os.waitpid(self._child, 0)
        os.close(self._console)
        is_raw = self._tail.endswith(RAW_REPL_RESETS)
        os.write(self._master, b"MPY: soft reboot\r\n")
        self._child, self._console = self._spawn(runs_main=not is_raw)
        self._held, self._tail = (b"" if is_raw else None), b""

    def _spawn(self, *, runs_main: bool) -> tuple[int, int]:
        interpreter = str(find_micropython())
        environment = {
            "PATH": "",
            "SERIAL_FLASH": str(self._folder / "flash.bin"),
            "SERIAL_MAIN": "1" if runs_main else "0",
        }
        child, console = pty.fork()
        if child == 0:
            mode = termios.tcgetattr(0)
            mode[0] = 0
            mode[1] &= ~termios.OPOST  # else \r\r\n
            mode[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(0, termios.TCSANOW, mode)
            os.chdir(self._folder)
            command = [interpreter, "-X", f"heapsize={self._heap}", "-i", str(BOOT)]
            os.execve(interpreter, command, environment)
        return child, console


if __name__ == "__main__":
    Bridge(Path(sys.argv[1]), sys.argv[2]).run()
