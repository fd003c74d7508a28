"""Holds the links of a gateway, and sees that each device has one session."""

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from broker import Broker
from gateway.devices.tables import DeviceTables
from gateway.links.chunk_link import ChunkLink, LinkCounters, LinkServices
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
    state: str  # waiting, opening, proving, open, ending, or why it cannot be used
    device_id: str  # that has proved its key; "" for none, and for a board that joins
    is_joining: bool
    counters: LinkCounters


class Links:
    """The links that stand now; serve() runs one."""

    def __init__(
        self,
        tables: DeviceTables,
        expire_days: int,
        broker: Broker,
        clock: Callable[[], float] = time.time,
    ) -> None:
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

    async def serve(self, port: ChunkPort) -> str:
        """Serve a port until its link ends, and close it; return why it ended."""
        link = ChunkLink(port, self._services, self._refusals)
        self._links.append(link)
        try:
            return await link.run()
        finally:
            self._links.remove(link)

    def status(self) -> list[LinkStatus]:
        """Return the links that stand."""
        return [_describe(link) for link in self._links]

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
        link.counters,
    )
