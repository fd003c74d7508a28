"""Runs the links of a gateway: what opens them, and what they carry."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gateway.links.links import Links, LinkStatus

if TYPE_CHECKING:  # loaded only when [bluetooth] is enabled
    from gateway.links.ble.bluetooth import Bluetooth


class LinkSource(Protocol):
    """Opens links of one kind, as they come and go, and has them served."""

    async def run(self) -> None:
        """Run until cancelled."""

    def closed(self) -> list[LinkStatus]:
        """Return the links that should stand and do not."""

    async def pause(self, path: Path, seconds: float) -> bool:
        """Give the hardware at a path to another program; return whether it is in use here."""


class DeviceLinks:
    """All links, whatever opens them."""

    def __init__(
        self,
        links: Links,
        sources: tuple[LinkSource, ...],
        bluetooth: "Bluetooth | None" = None,  # one of the sources
    ) -> None:
        self._links, self._sources = links, sources
        self.bluetooth = bluetooth

    async def run(self) -> None:
        """Run all sources until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(source.run())

    def status(self) -> list[LinkStatus]:
        """Return the links: those that stand, then those that should."""
        closed = [status for source in self._sources for status in source.closed()]
        return [*self._links.status(), *closed]

    async def pause(self, path: Path, seconds: float) -> bool:
        """Give the hardware at a path to another program for a while; 0 ends that."""
        return any([await source.pause(path, seconds) for source in self._sources])
