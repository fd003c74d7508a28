"""Puts the MicroPython interpreter behind a pseudo terminal: mpremote takes it for a board.

The bridge is a program of its own: `python -m tests.pty_board LINK FLASH`. It copies bytes. When
the interpreter ends, it does what a board does at a soft reset: a board whose client is in the raw
REPL stays there, and does not run main.py.
"""

import os
import pty
import select
import sys
import termios
import tty
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.programs import ROOT, Program

HEAP, FLASH_KIB = "512K", 1024
BOOT = ROOT / "tests/device/pty_boot.py"
CTRL_A = b"\x01"


class PtyBoard:
    """A board at a port; a context that ends it."""

    def __init__(self, link: Path, flash: Path) -> None:
        self.link = link
        self.program = Program([sys.executable, "-m", "tests.pty_board", str(link), str(flash)])
        self.device = Path(self.program.wait_for(r"^board at (/dev/pts/\d+)$")[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.program.stop()


class Bridge:
    """Joins a pseudo terminal and the interpreter."""

    def __init__(self, flash: Path) -> None:
        self._flash = flash
        self.master, self.slave = os.openpty()  # the slave stays open: clients come and go
        tty.setraw(self.slave)
        self._held: bytes | None = None  # output after a soft reset in the raw REPL
        self._tail = b""
        self._child, self._output = self._spawn(runs_main=True)

    def run(self) -> None:
        """Copy until killed."""
        while True:
            ready, _, _ = select.select([self.master, self._output], [], [])
            if self.master in ready:
                os.write(self._output, os.read(self.master, 4096))
            if self._output in ready:
                self._take(self._read())

    def _take(self, data: bytes) -> None:
        if not data:
            self._restart()
            return
        self._tail = (self._tail + data)[-16:]
        if self._held is None:
            os.write(self.master, data)
            return
        self._held += data
        banner = self._held.find(b"MicroPython ")
        if banner >= 0 and self._held.endswith(b">>> "):
            os.write(self.master, self._held[:banner])
            self._held = None
            os.write(self._output, CTRL_A)  # the interpreter greets the raw REPL itself

    def _restart(self) -> None:
        os.waitpid(self._child, 0)
        os.close(self._output)
        is_raw = self._tail.endswith(b"OK\r\n")
        os.write(self.master, b"MPY: soft reboot\r\n")
        self._held, self._tail = b"" if is_raw else None, b""
        self._child, self._output = self._spawn(runs_main=not is_raw)

    def _read(self) -> bytes:
        try:
            return os.read(self._output, 4096)
        except OSError:
            return b""

    def _spawn(self, *, runs_main: bool) -> tuple[int, int]:
        interpreter = Path(sys.executable).parent / "micropython"
        environ = {
            **os.environ, "BOARD_FLASH": str(self._flash), "BOARD_FLASH_KIB": str(FLASH_KIB),
            "BOARD_RUNS_MAIN": "1" if runs_main else "0",
        }  # fmt: skip
        child, output = pty.fork()
        if child == 0:
            settings = termios.tcgetattr(0)
            settings[0] = 0
            settings[1] &= ~termios.OPOST
            settings[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(0, termios.TCSANOW, settings)
            command = [str(interpreter), "-X", f"heapsize={HEAP}", "-i", str(BOOT)]
            os.execve(interpreter, command, environ)
        return child, output


def main() -> None:
    """Run a bridge."""
    link, flash = map(Path, sys.argv[1:3])
    bridge = Bridge(flash)
    link.unlink(missing_ok=True)
    link.symlink_to(os.ttyname(bridge.slave))
    print("board at", os.ttyname(bridge.slave), flush=True)  # noqa: T201
    bridge.run()


if __name__ == "__main__":
    main()
