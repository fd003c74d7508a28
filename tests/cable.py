"""Joins two pseudo terminals, a board's and a gateway's, as a USB cable with an adapter does."""

import contextlib
import os
import select
import threading
import tty
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

STABLE = "usb-Test_Adapter_1234-if00-port0"
HELD_BYTES = 64 * 1024  # unread by a side; beyond, bytes are lost as on a line


class Cable:
    """A cable whose far end is the board's; a context that ends it."""

    def __init__(self, dev: Path) -> None:
        self._dev = dev
        self._lock = threading.Lock()
        self._board, self._board_slave = _open_terminal()
        self._gateway = -1
        self._gateway_slave = -1
        self._links: list[Path] = []
        self._waiting = {"board": bytearray(), "gateway": bytearray()}
        self._end, self._wake = os.pipe()
        self.change: Callable[[bytes], bytes] = bytes  # damages bytes as the line would
        self.passed = bytearray()  # to the gateway, the last of it
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def board_path(self) -> str:
        """The terminal for the board."""
        return os.ttyname(self._board_slave)

    @property
    def path(self) -> Path | None:
        """The path of the gateway's end; None while it is unplugged."""
        return self._links[0] if self._links else None

    def plug(self, name: str = "ttyUSB0", stable: str = STABLE) -> Path:
        """Plug the cable in under a name of the system; return its path."""
        with self._lock:
            self._gateway, self._gateway_slave = _open_terminal()
            target = os.ttyname(self._gateway_slave)
        by_id = self._dev / "serial/by-id"
        by_id.mkdir(parents=True, exist_ok=True)
        self._links = [self._dev / name, by_id / stable]
        self._links[0].symlink_to(target)
        self._links[1].symlink_to(f"../../{name}")
        os.write(self._wake, b"w")
        return self._links[0]

    def unplug(self) -> None:
        """Pull the cable out."""
        for link in self._links:
            link.unlink()
        self._links = []
        with self._lock:
            gone = self._gateway, self._gateway_slave
            self._gateway = self._gateway_slave = -1
            self._waiting["gateway"].clear()
            for each in gone:
                os.close(each)

    def put_noise(self, octets: bytes) -> None:
        """Put bytes on the line, towards both ends."""
        with self._lock:
            for waiting in self._waiting.values():
                waiting += octets
        os.write(self._wake, b"w")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.write(self._wake, b"e")
        self._thread.join()
        if self._links:
            self.unplug()
        for each in (self._board, self._board_slave, self._end, self._wake):
            os.close(each)

    def _run(self) -> None:
        while True:
            with self._lock:
                ends = {"board": self._board}
                if self._gateway >= 0:
                    ends["gateway"] = self._gateway
                wanted = [fd for end, fd in ends.items() if self._waiting[end]]
                readable = [self._end, *ends.values()]
            ready, writable, _ = select.select(readable, wanted, [], 0.2)
            if self._end in ready and b"e" in os.read(self._end, 16):
                return
            with self._lock:
                for end, fd in ends.items():
                    if fd not in (self._board, self._gateway):
                        continue  # unplugged meanwhile
                    other = "gateway" if end == "board" else "board"
                    if fd in ready:
                        self._take(fd, other, is_plugged="gateway" in ends)
                    if fd in writable:
                        self._give(fd, end)

    def _take(self, fd: int, other: str, *, is_plugged: bool) -> None:
        with contextlib.suppress(OSError):
            octets = self.change(os.read(fd, 4096))
            waiting = self._waiting[other]
            if is_plugged and len(waiting) + len(octets) <= HELD_BYTES:
                waiting += octets
            if other == "gateway":
                self.passed = (self.passed + octets)[-HELD_BYTES:]

    def _give(self, fd: int, end: str) -> None:
        with contextlib.suppress(OSError):
            waiting = self._waiting[end]
            del waiting[: os.write(fd, waiting[:1024])]


def _open_terminal() -> tuple[int, int]:
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    return master, slave
