"""Keeps a scanner running on one adapter, and replaces it when it lies.

A scanner that was stopped, or that did not start or stop in time, is never used again: what it
still reports is dropped, and a new one is made.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardware.radio.adapters import Adapter
from hardware.radio.advertisement import Advertisement
from hardware.radio.advertisement_source import AdvertisementSource
from hardware.radio.backend import RadioBackend
from hardware.radio.backend_call import BackendCalls
from hardware.radio.errors import RadioError
from hardware.radio.heard import HeardDevices
from hardware.radio.scan_health import ScanHealth

if TYPE_CHECKING:
    from bleak import BleakScanner
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData

logger = logging.getLogger(__name__)

START_S, STOP_S = 10.0, 5.0  # for the backend
SERVICE_DATA_LIMIT = 8  # parts of one advertisement


@dataclass(slots=True)
class ScanCounters:
    """The counters of all scanners since the start."""

    heard: int = 0
    started: int = 0
    start_failed: int = 0
    stop_failed: int = 0
    silent: int = 0
    pauses: int = 0
    late: int = 0  # advertisements of scanners that had been stopped
    adapter_restarts: int = 0


class Scanner:
    """Scans on one adapter after the other; run() takes one at a time."""

    def __init__(
        self,
        backend: RadioBackend,
        calls: BackendCalls,
        source: AdvertisementSource,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend, self._calls, self._source, self._now = backend, calls, source, now
        self._health = ScanHealth()
        self._current: BleakScanner | None = None
        self._is_running = False
        self._pauses = 0  # pauses that are wanted now
        self._changed = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stopped.set()
        self.heard = HeardDevices()
        self.counters = ScanCounters()
        self.heard_at: float | None = None
        self.problem = ""  # the last failure, until a scanner hears something

    @property
    def is_scanning(self) -> bool:
        """True while a scanner runs, as far as it says."""
        return self._is_running

    async def run(self, adapter: Adapter, has_links: Callable[[], bool]) -> None:
        """Scan until cancelled; has_links tells whether a restart of the adapter costs links."""
        self.heard.clear()
        try:
            while True:
                await self._wait_while_paused()
                if self._health.wants_restart(has_links=has_links()):
                    await self._restart(adapter)
                await self._scan_once(adapter)
        finally:
            self.heard.clear()

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Stop scanning meanwhile: some adapters cannot connect while they scan."""
        self._pauses += 1
        self.counters.pauses += 1
        self._changed.set()
        try:
            await self._stopped.wait()
            yield
        finally:
            self._pauses -= 1
            self._changed.set()

    async def _wait_while_paused(self) -> None:
        while self._pauses:
            self._changed.clear()
            await self._changed.wait()

    async def _scan_once(self, adapter: Adapter) -> None:
        """Run one scanner until it has to be replaced or paused."""
        self._stopped.clear()
        scanner: BleakScanner | None = None
        try:
            self._current = scanner = self._make(adapter)
            await self._calls.run("start scanning", scanner.start(), START_S)
        except RadioError as exc:
            self.counters.start_failed += 1
            self._note_problem(str(exc))
            await self._discard(scanner)
            await asyncio.sleep(self._health.fail())
            return
        except asyncio.CancelledError:
            await self._discard(scanner)
            raise
        self._is_running = True
        self.counters.started += 1
        self._health.start(self._now())
        try:
            await self._watch()
        finally:
            await self._discard(scanner)

    async def _watch(self) -> None:
        """Return when the scanner is silent, or a pause is wanted."""
        while not self._pauses:
            left_s = self._health.silence_at() - self._now()
            if left_s <= 0:
                self.counters.silent += 1
                self._health.note_silence()
                if self.heard_at is not None:
                    self._note_problem("the scanner hears nothing")
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._changed.wait()

    async def _discard(self, scanner: "BleakScanner | None") -> None:
        """Stop a scanner for good; it is given up when it does not stop."""
        self._current, self._is_running = None, False
        try:
            if scanner is not None:
                await self._calls.run("stop scanning", scanner.stop(), STOP_S)
        except RadioError as exc:
            self.counters.stop_failed += 1
            logger.debug("%s", exc)
        finally:
            self._stopped.set()

    async def _restart(self, adapter: Adapter) -> None:
        self.counters.adapter_restarts += 1
        logger.warning("Bluetooth adapter %s is switched off and on: %s", adapter.address,
                       self.problem or "its scanner hears nothing")  # fmt: skip
        try:
            system = self._backend.system
            await self._calls.run("restart the adapter", system.restart(adapter), START_S)
        except RadioError as exc:
            self._note_problem(str(exc))

    def _make(self, adapter: Adapter) -> "BleakScanner":
        """Return a new scanner, whose callback knows which scanner it belongs to."""
        from bleak import BleakScanner

        made: list[BleakScanner] = []

        def on_detection(device: "BLEDevice", data: "AdvertisementData") -> None:
            if made and made[0] is self._current:
                self._take(device, data)
            else:
                self.counters.late += 1

        options: dict[str, Any] = {"bluez": {"adapter": adapter.name}}
        if self._backend.scanner is not None:
            options["backend"] = self._backend.scanner
        try:
            scanner = BleakScanner(on_detection, **options)
        except Exception as exc:  # as of backend_call
            raise RadioError(f"cannot make a scanner: {exc}") from exc
        made.append(scanner)
        return scanner

    def _take(self, device: "BLEDevice", data: "AdvertisementData") -> None:
        now = self._now()
        self.counters.heard += 1
        self.heard_at = now
        self._health.hear(now)
        if self.problem:
            logger.info("Bluetooth scanner hears devices again")
            self.problem = ""
        address = device.address.upper()
        self.heard.note(address, device)
        self._source.deliver(to_advertisement(address, data, now, device.details))

    def _note_problem(self, text: str) -> None:
        if text != self.problem:
            logger.warning("%s; trying again", text)
        self.problem = text


def to_advertisement(
    address: str, data: "AdvertisementData", now: float, details: object = None
) -> Advertisement:
    """Return an advertisement as this program describes it; details are those of the backend."""
    properties = details.get("props") if isinstance(details, dict) else None  # of BlueZ
    kind = properties.get("AddressType") if isinstance(properties, dict) else ""
    service_data = list(data.service_data.items())[:SERVICE_DATA_LIMIT]
    manufacturer_data = list(data.manufacturer_data.items())[:SERVICE_DATA_LIMIT]
    return Advertisement(
        address=address,
        rssi_dbm=data.rssi,
        heard_at=now,
        name=data.local_name or "",
        service_uuids=tuple(uuid.lower() for uuid in data.service_uuids),
        service_data={uuid.lower(): bytes(value) for uuid, value in service_data},
        manufacturer_data={company: bytes(value) for company, value in manufacturer_data},
        address_type=kind if kind in ("public", "random") else "",
    )
