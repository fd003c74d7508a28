"""Holds the links of a gateway, and sees that each device has one session."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from broker import Broker
from gateway.devices.tables import DeviceTables
from gateway.links.chunk_link import ChunkLink, ChunkCounters, LinkServices
from gateway.links.keys import LinkKey, LinkKeys
from gateway.links.names import LISTENER
from gateway.links.ports import ChunkPort
from gateway.links.refusals import RefusalLimiter
from protocol.ids import DEVICE_ID

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One link as it is now."""

    name: str
    state: str  # closed, waiting (for a device), or of the session
    device_id: str = ""  # that has proved its key
    is_joining: bool = False  # a board with a claim token
    problem: str = ""  # why it is closed
    counters: ChunkCounters = field(default_factory=ChunkCounters)

    @classmethod
    def closed(cls, name: str, problem: str) -> Self:
        """Return a link that does not stand."""
        return cls(name, "closed", problem=problem)


class LinkSource(Protocol):
    """Opens links of one kind, as they come and go."""

    async def run(self, links: "Links") -> None:
        """Open links and have them served, until cancelled."""

    def closed(self) -> list[LinkStatus]:
        """Return the links that should stand and do not."""

    async def pause(self, path: Path, seconds: float) -> bool:
        """Give the hardware at a path to another program; return whether it is in use here."""


class Links:
    """The links that stand now; serve() runs one."""

    def __init__(
        self,
        tables: DeviceTables,
        expire_days: int,
        broker: Broker,
        sources: tuple[LinkSource, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = sources
        self._keys = LinkKeys(tables.registry, tables.claims, expire_days)
        self._broker, self._clock = broker, clock
        self._refusals = RefusalLimiter()
        self._links: list[ChunkLink] = []
        self._services = LinkServices(
            now=time.monotonic,
            find_key=self._find_key,
            adopt=self._adopt,
            on_proved=self._end_others,
        )

    async def run(self) -> None:
        """Run all sources until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(source.run(self))

    async def pause(self, path: Path, seconds: float) -> bool:
        """Give the hardware at a path to another program for a while; 0 ends that."""
        return any([await source.pause(path, seconds) for source in self._sources])

    async def serve(self, port: ChunkPort) -> str:
        """Serve a port until its link ends, and close it; return why it ended."""
        link = ChunkLink(port, self._services, self._refusals)
        self._links.append(link)
        try:
            return await link.run()
        finally:
            self._links.remove(link)

    def status(self) -> list[LinkStatus]:
        """Return the links: those that stand, then those that should."""
        closed = [status for source in self._sources for status in source.closed()]
        return [*map(_describe, self._links), *closed]

    def _find_key(self, name: bytes) -> LinkKey | None:
        return self._keys.find(name, self._clock())

    async def _adopt(self, end: socket.socket, peer: str, proved: str) -> bool:
        return await self._broker.adopt(end, LISTENER, peer, proved)

    def _end_others(self, newest: ChunkLink) -> None:
        """End the sessions that a device has on other links; boards may share a claim token."""
        proved = newest.proved
        is_device = DEVICE_ID.fullmatch(proved) is not None
        logger.info("%s: %s", newest.name, proved if is_device else "a board that joins")
        for link in self._links:
            if is_device and link is not newest and link.proved == proved:
                link.end_session("the device has another link")


def _describe(link: ChunkLink) -> LinkStatus:
    state, proved = link.state, link.proved
    is_device = DEVICE_ID.fullmatch(proved) is not None
    return LinkStatus(
        link.name,
        state.value if state is not None else "waiting",
        proved if is_device else "",
        bool(proved) and not is_device,
        counters=link.counters,
    )
