"""Keeps a radio at work: finds its adapter, scans, and opens links one at a time.

The adapter is looked for every LOOK_S. When it comes back under another name, or another one takes
its place, the scanner and all handles are made anew, and links of before are ended.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from hardware.radio.adapters import Adapter, choose_adapter
from hardware.radio.advertisement_source import AdvertisementSource
from hardware.radio.backend import RadioBackend
from hardware.radio.backend_call import BackendCalls
from hardware.radio.errors import AdapterMissingError, BondLostError, RadioError, StaleLayoutError
from hardware.radio.gatt_link import GattLink
from hardware.radio.link_opening import LinkOpener
from hardware.radio.scanner import Scanner

if TYPE_CHECKING:
    from bleak.backends.device import BLEDevice

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S = 5.0
SYSTEM_S = 5.0  # for one question to the system
LAYOUT_LIMIT = 256


@dataclass(slots=True)
class RadioCounters:
    """The counters of a radio since the start."""

    adapter_lost: int = 0
    adapter_found: int = 0
    opened: int = 0
    open_failed: int = 0
    stale_layouts: int = 0
    leaked_closed: int = 0  # links of the system that nobody used
    dead_closed: int = 0  # links that the system did not have any more


class Radio:
    """One adapter, its scanner, and the links over it."""

    def __init__(
        self,
        backend: RadioBackend,
        wanted: str = "",  # the adapter's address; "": any
        now: Callable[[], float] = time.monotonic,
        look_s: float = LOOK_S,
    ) -> None:
        self._backend, self._wanted, self._now, self._look_s = backend, wanted, now, look_s
        self._calls = BackendCalls()
        self._opener = LinkOpener(backend, self._calls)
        self._links: dict[str, GattLink] = {}
        self._layouts: dict[str, int] = {}  # by address
        self._forgotten: set[str] = set()  # addresses whose layout is taken as it is, once
        self._opening = asyncio.Lock()
        self._opening_address = ""
        self._opening_task: asyncio.Task[tuple[GattLink, int]] | None = None
        self._pauses_for_links = False
        self._last_address = ""
        self.adapter: Adapter | None = None
        self.problem = ""  # the reason why there is no adapter
        self.source = AdvertisementSource()
        self.scanner = Scanner(backend, self._calls, self.source, now)
        self.counters = RadioCounters()

    @property
    def links(self) -> dict[str, GattLink]:
        """The links that stand, as far as is known, by address."""
        return {address: link for address, link in self._links.items() if not link.is_lost}

    @property
    def abandoned_calls(self) -> int:
        """The calls of the backend that did not end."""
        return self._calls.abandoned

    @property
    def pauses_for_links(self) -> bool:
        """True when scanning stops while a link is opened, which this adapter needs."""
        return self._pauses_for_links

    async def run(self) -> None:
        """Work until cancelled, with an adapter or without."""
        scanning: asyncio.Task[None] | None = None
        try:
            while True:
                adapter = await self._look()
                if adapter != self.adapter or (scanning is not None and scanning.done()):
                    await _end(scanning)
                    await self._use(adapter)
                    scanning = None
                    if adapter is not None:
                        run = self.scanner.run(adapter, lambda: bool(self.links))
                        scanning = asyncio.create_task(run, name="Bluetooth scanner")
                await asyncio.sleep(self._look_s)
        finally:
            await _end(scanning)
            await self._close_links("the gateway stops")

    async def open(self, address: str, advertised_layout: int = 0) -> GattLink:
        """Open a link to a device that the scanner has heard; RadioError with the reason."""
        async with self._opening:
            handle, adapter = self.scanner.heard.get(address), self.adapter
            if adapter is None:
                raise AdapterMissingError(self.problem or "no Bluetooth adapter")
            if handle is None:
                raise RadioError(f"cannot connect to {address}: it is not heard any more")
            known = 0
            if address not in self._forgotten:
                known = advertised_layout or self._layouts.get(address, 0)
            self._opening_address = address
            try:
                pause = self.scanner.paused() if self._pauses_for_links else nullcontext()
                async with pause:
                    link, layout = await self._open(adapter, handle, known)
            except StaleLayoutError:
                self.counters.stale_layouts += 1
                await self._forget_layout(adapter, address)
                raise
            except RadioError as exc:
                self._note_failure(exc)
                raise
            finally:
                self._opening_address = ""
            if adapter != self.adapter:
                link.lose("the adapter is gone")
            self.counters.opened += 1
            self._forgotten.discard(address)
            self._note_layout(address, layout)
            self._links[address] = link
            return link

    async def _open(
        self, adapter: Adapter, handle: "BLEDevice", known: int
    ) -> tuple[GattLink, int]:
        """Open a link, or give up when the adapter goes."""
        task = asyncio.create_task(self._opener.open(adapter, handle, known))
        self._opening_task = task
        try:
            return await task
        except asyncio.CancelledError:
            if adapter == self.adapter:
                raise
            raise AdapterMissingError(
                f"cannot connect to {handle.address}: the adapter is gone"
            ) from None
        finally:
            self._opening_task = None

    async def close(self, link: GattLink) -> None:
        """Close a link; one that does not close is left to compare_links()."""
        if self._links.get(link.address) is link:
            del self._links[link.address]
        with contextlib.suppress(RadioError):
            await link.close()

    async def compare_links(self) -> int:
        """End the links that the system does not have, and close those that nobody uses.

        Returns the number of the latter: they used room in the adapter.
        """
        adapter = self.adapter
        if adapter is None:
            return 0
        before = dict(self._links)
        real = set(await self._ask("list links", self._backend.system.connected(adapter)))
        for address, link in before.items():
            if address not in real or not link.is_connected:
                if not link.is_lost:
                    self.counters.dead_closed += 1
                    logger.info("the link to %s has ended without notice", address)
                link.lose("the link is gone")
                if self._links.get(address) is link:
                    del self._links[address]
        leaked = real - self._links.keys() - {self._opening_address}
        for address in leaked:
            self.counters.leaked_closed += 1
            logger.info("closing a link to %s that nobody uses", address)
            system = self._backend.system
            with contextlib.suppress(RadioError):
                await self._ask(f"close {address}", system.disconnect(adapter, address))
        return len(leaked)

    async def bonded(self) -> set[str]:
        """Return the addresses of devices that have a bond; RadioError when it is not known."""
        if self.adapter is None:
            return set()
        return set(await self._ask("list bonds", self._backend.system.bonded(self.adapter)))

    async def forget(self, address: str) -> None:
        """Make the system forget a device, with its bond; RadioError when it does not."""
        adapter = self.adapter
        if adapter is None:
            raise AdapterMissingError(self.problem or "no Bluetooth adapter")
        await self._ask(f"forget {address}", self._backend.system.forget(adapter, address))
        self.scanner.heard.forget(address)

    async def _look(self) -> Adapter | None:
        try:
            adapters = await self._ask("list Bluetooth adapters", self._backend.system.adapters())
            adapter = choose_adapter(adapters, self._wanted, self._last_address)
        except RadioError as exc:
            if str(exc) != self.problem:
                logger.warning("%s; looking again every %.0f s", exc, self._look_s)
            self.problem = str(exc)
            return None
        self.problem = ""
        return adapter

    async def _use(self, adapter: Adapter | None) -> None:
        if self.adapter is not None:
            self.counters.adapter_lost += 1
            self.adapter = None
            if self._opening_task is not None:
                self._opening_task.cancel()
            await self._close_links("the adapter is gone")
        self.adapter = adapter
        self._pauses_for_links = False
        if adapter is not None:
            self.counters.adapter_found += 1
            self._last_address = adapter.address
            logger.info("using Bluetooth adapter %s (%s)", adapter.address, adapter.name)

    async def _close_links(self, why: str) -> None:
        links, self._links = list(self._links.values()), {}
        for link in links:
            link.lose(why)
        for link in links:
            with contextlib.suppress(RadioError):
                await link.close()

    def _note_failure(self, fault: RadioError) -> None:
        self.counters.open_failed += 1
        if isinstance(fault, BondLostError):
            return
        text = f"{fault} {fault.__cause__!r}".lower()
        if not self._pauses_for_links and ("inprogress" in text or "in progress" in text):
            logger.info("this adapter does not connect while it scans: scanning pauses")
            self._pauses_for_links = True

    async def _forget_layout(self, adapter: Adapter, address: str) -> None:
        """Make the system discover the services again; a bond is not given up for that."""
        system = self._backend.system
        if address in set(await self._ask("list bonds", system.bonded(adapter))):
            raise RadioError(
                f"cannot connect to {address}: its services have changed, and the system does not "
                f"look again because of its bond: `hecate devices radio --forget {address}`"
            )
        await self._ask(f"forget {address}", system.forget(adapter, address))
        self._layouts.pop(address, None)
        self._forgotten.add(address)
        self.scanner.heard.forget(address)

    def _note_layout(self, address: str, layout: int) -> None:
        self._layouts.pop(address, None)
        self._layouts[address] = layout
        while len(self._layouts) > LAYOUT_LIMIT:
            del self._layouts[next(iter(self._layouts))]

    async def _ask(self, what: str, call: Coroutine[Any, Any, T]) -> T:
        return await self._calls.run(what, call, SYSTEM_S)


async def _end(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for it; what ended it before is reported."""
    if task is None:
        return
    task.cancel()
    await asyncio.wait({task})
    fault = None if task.cancelled() else task.exception()
    if fault is not None:
        logger.error("the Bluetooth scanner failed", exc_info=fault)
