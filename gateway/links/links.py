"""Holds the links of a gateway.

A device that has logged in over one link loses its session on another one: both have the same MQTT
client id, and the broker closes the older connection, unless two boards do that to each other.
"""

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from broker import Broker
from gateway.devices.tables import DeviceTables
from gateway.links.chunk_link import ChunkCounters, ChunkLink, LinkServices
from gateway.links.keys import LinkKey, LinkKeys
from gateway.links.names import LISTENER
from gateway.links.ports import ChunkPort
from gateway.links.refusals import RefusalLimiter
from protocol.ids import DEVICE_ID

logger = logging.getLogger(__name__)

OnProved = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One link as it is now."""

    name: str
    state: str  # closed, waiting (for a device), or of the session
    device_id: str = ""  # the device that has proved its key
    is_joining: bool = False  # a board with a claim token
    problem: str = ""  # the reason why it is closed
    counters: ChunkCounters = field(default_factory=ChunkCounters)

    @classmethod
    def closed(cls, name: str, problem: str) -> Self:
        """Return a link that does not stand."""
        return cls(name, "closed", problem=problem)


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
        self._links: dict[ChunkLink, OnProved] = {}
        self._services = LinkServices(
            now=time.monotonic,
            find_key=self._find_key,
            adopt=self._adopt,
            on_proved=self._note_proof,
        )

    async def serve(self, port: ChunkPort, on_proved: OnProved = lambda _: None) -> str:
        """Serve a port until its link ends, and close it; return why it ended.

        on_proved is called with the name that the device at the other end has proved: a device id,
        or the name of a claim token.
        """
        link = ChunkLink(port, self._services, self._refusals)
        self._links[link] = on_proved
        try:
            return await link.run()
        finally:
            del self._links[link]

    async def park(self, name: str) -> bool:
        """End a link so that its device can come back later; return whether it said good-bye."""
        return any([await link.park() for link in tuple(self._links) if link.name == name])

    def status(self) -> list[LinkStatus]:
        """Return the links that stand."""
        return [_describe(link) for link in self._links]

    def _find_key(self, name: bytes) -> LinkKey | None:
        return self._keys.find(name, self._clock())

    async def _adopt(self, end: socket.socket, peer: str, proved: str) -> bool:
        return await self._broker.adopt(end, LISTENER, peer, proved)

    def _note_proof(self, link: ChunkLink) -> None:
        proved = link.proved
        is_device = DEVICE_ID.fullmatch(proved) is not None
        logger.info("%s: %s", link.name, proved if is_device else "a board that joins")
        self._links[link](proved)


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
