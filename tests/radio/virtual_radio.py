"""Starts a virtual radio for a test, and puts boards on the air."""

import itertools
import json
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from hardware.simulated import find_micropython
from tests.programs import Program
from tests.radio.adapters import VirtualAdapters

SHIM = Path(__file__).parent / "shim" / "bluetooth.py"
TIMEOUT_S = 30


class VirtualRadio:
    """A radio process; a context that ends it, and with it every link."""

    def __init__(self) -> None:
        self._program = Program([sys.executable, "-m", "tests.radio"])
        self._numbers = itertools.count(1)
        self.hci_port = self.boards_port = 0

    def __enter__(self) -> Self:
        try:
            ports = self._program.wait_for(r"^radio: hci (\d+), interpreters (\d+)$")
        except BaseException:
            self._program.kill()
            raise
        self.hci_port, self.boards_port = map(int, ports.groups())
        return self

    def __exit__(self, *_: object) -> None:
        self._program.kill()

    def adapters(self) -> VirtualAdapters:
        """Return the adapters of one gateway, none at first; a context of the event loop."""
        return VirtualAdapters(self.hci_port)

    def equip(self, flash: Path, address: str = "") -> str:
        """Give the module `bluetooth` to a board whose flash is a folder; return its address."""
        address = address or f"F0:0D:00:00:00:{next(self._numbers):02X}"
        library = flash / "lib"
        library.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SHIM, library / SHIM.name)
        (flash / "radio").write_text(f"{self.boards_port} {address}")
        return address

    @contextmanager
    def beacon(self, address: str, data: bytes, interval_ms: int = 20) -> Iterator[None]:
        """Advertise these bytes, without a board, until the end of the context."""
        with self._connect() as connection:
            for line in (["start", address], ["advertise", interval_ms * 1000, data.hex()]):
                connection.sendall(json.dumps(line).encode() + b"\n")
            yield

    def deafen(self, address: str) -> None:
        """Make the stack of a board advertise no more until the board restarts it."""
        self._ask("deafen", address)

    def links_of(self, address: str) -> int | None:
        """Return the number of a board's links; None while its stack is off."""
        links: int | None = self._ask("links", address)
        return links

    def _ask(self, what: str, address: str) -> int | None:
        with self._connect() as connection:
            connection.sendall(json.dumps(["test", what, address]).encode() + b"\n")
            [answer] = json.loads(connection.makefile().readline())
        return None if answer is None else int(answer)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.boards_port), TIMEOUT_S)


def run_board(flash: Path, program: str, heap: str = "128K") -> Program:
    """Run a program in the MicroPython interpreter with a folder as its flash."""
    (flash / "main.py").write_text(program)
    command = [str(find_micropython()), "-X", f"heapsize={heap}", "main.py"]
    return Program(command, {"MICROPYPATH": f".frozen:{flash / 'lib'}"}, cwd=flash)
