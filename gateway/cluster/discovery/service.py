"""Announces this node by multicast DNS and resolves the names of others. Does I/O.

Names that expire or are withdrawn remove nobody: a peer is there as long as its link lives.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from zeroconf import Error as ZeroconfError
from zeroconf import (
    InterfaceChoice,
    IPVersion,
    NonUniqueNameException,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from gateway.addresses import (
    ADDRESSES_LIMIT,
    interface_addresses,
    is_link_local_v6,
    is_loopback,
    is_of_no_machine,
)
from gateway.cluster.discovery.goodbye import GOODBYE_S, AddressGoodbyes
from gateway.cluster.discovery.txt import (
    SERVICE_TYPE,
    Announcement,
    decode_txt,
    encode_txt,
    instance_name,
    node_id_of,
)
from settings.addresses import format_address

logger = logging.getLogger(__name__)
logging.getLogger("zeroconf").setLevel(logging.ERROR)  # warns of each interface without multicast

MQTT_TYPE = "_mqtt._tcp.local."  # for clients that look for any MQTT broker
LOOK_S = 10.0  # at the number of names, and for missing nodes
RETRY_S = 5.0  # pause when multicast cannot be used at all
UPDATE_S = 1.0  # between changes of the own record, which is sent to everybody
RESOLVE_MS = 1500
RESOLVES_AT_ONCE = 8
FLUSH_S = GOODBYE_S + 0.9  # the former addresses of a name have left the cache by then
WAITING_LIMIT = 64  # names to resolve; a stranger can announce any number
CACHE_LIMIT = 4096  # names that the library remembers, before it is started afresh


@dataclass(frozen=True, slots=True)
class DiscoveryPorts:
    """The functions of the cluster that discovery calls."""

    announcement: Callable[[], Announcement]
    searches: Callable[[], bool]  # true if others may miss the announcement of this node
    found: Callable[[Announcement, tuple[str, ...]], None]  # with host:port


class NodeDiscovery:
    """Announces and finds nodes until it is cancelled."""

    def __init__(self, node_id: str, port: int, mqtt_port: int, ports: DiscoveryPorts) -> None:
        """mqtt_port is 0 when the network cannot reach the broker."""
        self._node_id, self._port, self._mqtt_port = node_id, port, mqtt_port
        self._ports = ports
        self._waiting: set[str] = set()
        self._resolving: set[asyncio.Task[None]] = set()
        self._later: dict[str, asyncio.TimerHandle] = {}  # names to resolve again
        self._goodbyes = AddressGoodbyes()
        self._changed = asyncio.Event()
        self._calls = 0
        self._has_moved = False  # interfaces have changed
        self.ignored = 0  # names beyond the limit, and records that are none of ours

    def role_changed(self) -> None:
        """Announce the new role soon."""
        self._changed.set()

    def interfaces_changed(self) -> None:
        """Use the interfaces that there are now, and announce their addresses."""
        self._has_moved = True
        self._changed.set()

    async def run(self) -> None:
        """Announce and browse until cancelled; start again after a fault of the network."""
        warned = ""
        while True:
            try:
                await self._run_once()
            except (OSError, ZeroconfError, RuntimeError) as exc:
                why = str(exc) or type(exc).__name__
                if why != warned:
                    logger.warning("cannot use multicast DNS: %s; [cluster] peers helps", why)
                warned = why
                await asyncio.sleep(RETRY_S)

    async def _run_once(self) -> None:
        """Run one instance of the library; return when it remembers too many names."""
        zeroconf = AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=_ip_version())
        browser: AsyncServiceBrowser | None = None
        try:
            infos = self._make_infos(interface_addresses())
            for info in infos:
                await self._register(zeroconf, info)
            browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._notice])
            await self._follow_changes(zeroconf, infos)
        finally:
            self._goodbyes.stop()
            for task in self._resolving:
                task.cancel()
            while self._later:
                self._later.popitem()[1].cancel()
            if browser is not None:
                await browser.async_cancel()
            with contextlib.suppress(OSError, ZeroconfError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await zeroconf.async_close()

    async def _follow_changes(self, zeroconf: AsyncZeroconf, infos: list[AsyncServiceInfo]) -> None:
        while len(zeroconf.zeroconf.cache.names()) < CACHE_LIMIT:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._changed.wait()
            if not self._changed.is_set():
                if not self._ports.searches():
                    continue
                self._calls += 1
            self._changed.clear()
            # the addresses first: the library announces what it has on each new interface
            former = infos[0]  # all have the same addresses
            infos[:] = self._make_infos(await asyncio.to_thread(interface_addresses))
            for info in infos:
                await zeroconf.async_update_service(info)
            self._goodbyes.moved(zeroconf.zeroconf, former, infos[0])
            if self._has_moved:
                self._has_moved = False
                await zeroconf.async_update_interfaces(ip_version=_ip_version())
            await asyncio.sleep(UPDATE_S)
        logger.warning("too many names are announced on this network: forgetting them")

    async def _register(self, zeroconf: AsyncZeroconf, info: AsyncServiceInfo) -> None:
        try:
            await (await zeroconf.async_register_service(info, cooperating_responders=True))
        except NonUniqueNameException:  # an echo of its own announcement
            logger.debug("%s is announced by another", info.name)

    def _make_infos(self, addresses: Sequence[str]) -> list[AsyncServiceInfo]:
        raw = [_pack(address) for address in addresses] or [socket.inet_aton("127.0.0.1")]
        server = f"{self._node_id[:16]}.local."
        infos = [
            AsyncServiceInfo(
                SERVICE_TYPE,
                instance_name(self._node_id),
                port=self._port,
                addresses=raw,
                server=server,
                properties=encode_txt(replace(self._ports.announcement(), calls=self._calls)),
            )
        ]
        if self._mqtt_port:
            name = f"Hecate {self._node_id[:12]}.{MQTT_TYPE}"
            infos.append(
                AsyncServiceInfo(
                    MQTT_TYPE, name, port=self._mqtt_port, addresses=raw, server=server
                )
            )
        return infos

    # Others -----------------------------------------------------------------------------------

    def _notice(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        del service_type
        node_id = node_id_of(name)
        if state_change is ServiceStateChange.Removed or node_id == self._node_id:
            return
        if state_change is ServiceStateChange.Updated and len(self._later) < WAITING_LIMIT:
            loop = asyncio.get_running_loop()
            timer = self._later.pop(name, None)
            if timer is not None:
                timer.cancel()
            self._later[name] = loop.call_later(FLUSH_S, self._look_later, zeroconf, name)
        self._resolve_soon(zeroconf, name, node_id)

    def _look_later(self, zeroconf: Zeroconf, name: str) -> None:
        del self._later[name]
        self._resolve_soon(zeroconf, name, node_id_of(name))

    def _resolve_soon(self, zeroconf: Zeroconf, name: str, node_id: str) -> None:
        if not node_id or (name not in self._waiting and len(self._waiting) >= WAITING_LIMIT):
            self._ignore("more names, or other ones, are announced than nodes of a network have")
            return
        self._waiting.add(name)
        if len(self._resolving) < RESOLVES_AT_ONCE:
            task = asyncio.ensure_future(self._resolve_waiting(zeroconf))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    def _ignore(self, why: str) -> None:
        self.ignored += 1
        if self.ignored == 1:
            logger.warning("an announcement on this network is ignored, and so are more: %s", why)

    async def _resolve_waiting(self, zeroconf: Zeroconf) -> None:
        while self._waiting:
            name = self._waiting.pop()
            info = AsyncServiceInfo(SERVICE_TYPE, name)
            if not await info.async_request(zeroconf, RESOLVE_MS):
                continue
            announcement = decode_txt(info.properties)
            if announcement is None or announcement.node_id != node_id_of(name) or not info.port:
                self._ignore(f"what {name:.80} announces cannot be read")
                continue
            found = info.parsed_scoped_addresses(IPVersion.All)
            # a machine without a network announces its loopback address, to others of it alone
            has_network = any(map(is_loopback, found)) and bool(interface_addresses())
            usable = usable_addresses(found, info.port, has_network=has_network)
            self._ports.found(announcement, usable)


def usable_addresses(found: Sequence[str], port: int, *, has_network: bool) -> tuple[str, ...]:
    """Return host:port of the addresses that may lead to a node.

    Args:
        found: those of its record; a link-local one has the scope of the network it came over.
        port: of the record.
        has_network: this machine has addresses of its own, so that no other is on its loopback.
    """
    usable = (
        each
        for each in found
        if not is_of_no_machine(each)
        and not (has_network and is_loopback(each))
        and ("%" in each or not is_link_local_v6(each))
    )
    return tuple(format_address(each, port) for each in usable)[:ADDRESSES_LIMIT]


def _ip_version() -> IPVersion:
    return IPVersion.All if socket.has_ipv6 and _has_ipv6_address() else IPVersion.V4Only


def _has_ipv6_address() -> bool:
    return any(":" in address for address in interface_addresses())


def _pack(address: str) -> bytes:
    return ip_address(address.partition("%")[0]).packed
