"""Opens the serial lines of the configuration, and opens them again when they were unplugged."""

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from gateway.links.links import Links, LinkStatus
from gateway.links.ports import LinkClosedError
from gateway.links.serial_line import SerialLine, open_serial
from gateway.links.settings import SerialSettings
from hardware.boards.errors import BoardError
from hardware.boards.ports import DEV, find_stable_path, open_port

logger = logging.getLogger(__name__)

LOOK_S = 1.0  # between two looks for a port that is not there
RETRY_S = 5.0  # after a port that could not be opened: its holder may end
PAUSE_LIMIT_S = 600.0


@dataclass(slots=True)
class _Line:
    """One line of the configuration."""

    settings: SerialSettings
    stable_path: Path | None = None  # of the USB device that was there last
    problem: str = ""  # the reason why it is closed; "" while it is open
    paused_until: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    open: SerialLine | None = None

    @property
    def name(self) -> str:
        """The name of the link."""
        return f"serial:{self.settings.path}"


class SerialLines:
    """A source of links: the serial lines."""

    def __init__(
        self,
        links: Links,
        settings: tuple[SerialSettings, ...],
        dev: Path = DEV,
        retry_s: float = RETRY_S,
    ) -> None:
        self._links, self._retry_s = links, retry_s
        self._lines = [_Line(each) for each in settings]
        self._dev = dev

    async def run(self) -> None:
        """Serve all lines until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for line in self._lines:
                tasks.create_task(self._keep(line), name=line.name)

    def closed(self) -> list[LinkStatus]:
        """Return the lines that are not open, and why."""
        return [
            LinkStatus.closed(line.name, line.problem or "starting")
            for line in self._lines
            if line.open is None
        ]

    async def pause(self, path: Path, seconds: float) -> bool:
        """Give a port to another program for a while; 0 ends that. False: no line has the port."""
        found = self._at(path)
        for line in found:
            line.paused_until = time.monotonic() + min(seconds, PAUSE_LIMIT_S)
            line.changed.set()
            if line.open is not None and seconds:
                await line.open.close()
        return bool(found)

    def _at(self, path: Path) -> list[_Line]:
        device = os.path.realpath(path)
        return [line for line in self._lines if os.path.realpath(self._find(line)) == device]

    async def _keep(self, line: _Line) -> None:
        while True:
            pause_s = line.paused_until - time.monotonic()
            if pause_s > 0:
                self._note(line, "paused: another program uses the port")
            else:
                pause_s = await self._serve(line)
            line.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await line.changed.wait()

    async def _serve(self, line: _Line) -> float:
        """Serve a line while it is open; return how long to wait for the next try."""
        path = self._find(line)
        if not path.exists():
            self._note(line, f"cannot use {line.settings.path}: no such port; plug it in")
            return LOOK_S
        try:
            line.open = await self._open(line, path)
        except (BoardError, LinkClosedError) as exc:
            self._note(line, str(exc))
            return self._retry_s
        line.stable_path = find_stable_path(path, self._dev)
        line.problem = ""
        where = "" if str(path) == line.settings.path else f", at {path}"
        logger.info("%s: open%s", line.name, where)
        try:
            why = await self._links.serve(line.open)
        finally:
            line.open = None
        self._note(line, why)
        return LOOK_S

    def _find(self, line: _Line) -> Path:
        """Return the path that leads to the line's USB device, wherever it is plugged in now."""
        stable = line.stable_path
        return stable if stable is not None and stable.exists() else Path(line.settings.path)

    async def _open(self, line: _Line, path: Path) -> SerialLine:
        port = await asyncio.to_thread(open_port, path)
        opened = await asyncio.to_thread(open_serial, str(port.device), line.settings.baud)
        return SerialLine(line.name, opened, line.settings.chunk_bytes)

    def _note(self, line: _Line, problem: str) -> None:
        if problem != line.problem:
            logger.warning("%s: %s", line.name, problem)
        line.problem = problem
