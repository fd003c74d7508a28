"""Serves the devices behind Bluetooth LE: gives them links by turns, and ends links.

scheduler.py decides; this module carries it out with the radio, and tells what happened.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.links.ble.bonds import BondBook
from gateway.links.ble.device_notes import DeviceNotes
from gateway.links.ble.port import PREFIX, BlePort
from gateway.links.ble.scheduler import Ending, LinkScheduler
from gateway.links.ports import ChunkPort
from hardware.radio.advertisement import Advertisement
from hardware.radio.errors import (
    AdapterMissingError,
    BondLostError,
    RadioError,
    StaleLayoutError,
)
from hardware.radio.hecate_service import read_service_state
from hardware.radio.radio import Radio
from protocol.ids import DEVICE_ID

logger = logging.getLogger(__name__)

TICK_S = 0.25
SECOND_S = 1.0
COMPARE_S = 60.0  # between two comparisons of slots with the links of the system
COMPARE_AGAIN_S = 5.0  # the same after a possible leak
BOND_WAIT_S = 60.0
JOINING = "a board that joins"
STALE_LIMIT = 3  # times in a row that the services of a device are forgotten


class PortServer(Protocol):
    """Joins chunk ports to the broker."""

    async def serve(self, port: ChunkPort, on_proved: Callable[[str], None]) -> str:
        """Serve a port until its link ends; tell what its device has proved."""

    async def park(self, name: str) -> bool:
        """End a link so that its device can come back later."""


@dataclass(frozen=True, slots=True)
class HostParts:
    """The parts that the host uses."""

    radio: Radio
    links: PortServer
    has_messages: Callable[[str], bool]  # at the broker, for a device
    scheduler: LinkScheduler
    notes: DeviceNotes
    now: Callable[[], float] = time.monotonic


class BluetoothHost:
    """The devices behind one radio."""

    def __init__(self, parts: HostParts) -> None:
        self._parts = parts
        self.bonds = BondBook()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._parking: set[asyncio.Task[None]] = set()
        self._passed: dict[str, int] = {}  # chunks of each link, when last looked
        self._stale: dict[str, int] = {}  # times in a row, by address
        self._adapter = parts.radio.adapter
        self._compare_at = self._compared_at = 0.0

    async def run(self) -> None:
        """Serve until cancelled."""
        radio = self._parts.radio
        remove = radio.source.add_listener(self._hear)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(radio.run(), name="radio")
                tasks.create_task(self._give_turns(), name="turns of Bluetooth devices")
                tasks.create_task(self._look_after(), name="links of Bluetooth devices")
        finally:
            remove()
            running = [*self._tasks.values(), *self._parking]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._parts.notes.end()

    def _hear(self, advertisement: Advertisement) -> None:
        state = read_service_state(advertisement)
        if state is None:
            return
        parts, now = self._parts, self._parts.now()
        address, rssi_dbm = advertisement.address, advertisement.rssi_dbm
        parts.scheduler.hear(address, state, rssi_dbm, now)
        known = parts.scheduler.advertisers.get(address)
        if known is not None and known.proved:
            parts.notes.note_signal(known.proved, rssi_dbm, now)

    async def _give_turns(self) -> None:
        scheduler, radio = self._parts.scheduler, self._parts.radio
        while True:
            now = self._parts.now()
            if radio.adapter != self._adapter:
                self._adapter = radio.adapter
                scheduler.start_over(now)
            self._note_activity(now)
            for address, reason in scheduler.to_end(now):
                task = asyncio.create_task(self._end(address, reason))
                self._parking.add(task)
                task.add_done_callback(self._parking.discard)
            chosen = scheduler.next_turn(now) if radio.adapter is not None else None
            if chosen is not None:
                task = asyncio.create_task(self._serve(chosen), name=f"{PREFIX}{chosen}")
                self._tasks[chosen] = task
            await asyncio.sleep(TICK_S)

    async def _look_after(self) -> None:
        """Do what is due every second."""
        parts, advertisers = self._parts, self._parts.scheduler.advertisers

        def heard_at(address: str) -> float | None:
            known = advertisers.get(address)
            return known.heard_at if known is not None else None

        while True:
            now = parts.now()
            waiting = {known.proved for known in parts.scheduler.waiting(now) if known.proved}
            parts.scheduler.note_commands(frozenset(filter(parts.has_messages, waiting)))
            parts.notes.check(heard_at, now)
            if parts.scheduler.misses_parked(now):
                self._compare_at = min(self._compare_at, self._compared_at + COMPARE_AGAIN_S)
            if now >= self._compare_at:
                await self._compare()
            await asyncio.sleep(SECOND_S)

    async def _compare(self) -> int:
        """Compare slots with the links of the system; return the links that had leaked."""
        now = self._parts.now()
        self._compare_at, self._compared_at = now + COMPARE_S, now
        try:
            return await self._parts.radio.compare_links()
        except RadioError as exc:
            logger.debug("%s", exc)
            return 0

    def _note_activity(self, now: float) -> None:
        for address, link in self._parts.radio.links.items():
            passed = link.counters.chunks_in + link.counters.chunks_out
            if self._passed.get(address) != passed:
                self._passed[address] = passed
                self._parts.scheduler.passed(address, now)

    async def _serve(self, address: str) -> None:
        """Give a device its turn."""
        parts = self._parts
        known = parts.scheduler.advertisers.get(address)
        layout = known.state.layout if known is not None else 0
        try:
            link = await parts.radio.open(address, layout)
        except RadioError as exc:
            self._note_failure(address, exc, has_leaked=await self._compare() > 0)
        except BaseException:
            parts.scheduler.failed(address, parts.now())
            raise
        else:
            self._stale.pop(address, None)
            parts.scheduler.opened(address, parts.now())
            port = BlePort(link, parts.radio.close)
            try:
                why = await parts.links.serve(port, lambda who: self._note_proof(address, who))
                logger.debug("%s: %s", port.name, why)
            finally:
                await parts.radio.close(link)
                parts.scheduler.ended(address, parts.now())
        finally:
            self._passed.pop(address, None)
            self._tasks.pop(address, None)

    def _note_proof(self, address: str, proved: str) -> None:
        parts, now = self._parts, self._parts.now()
        # the name of a claim token is its key: it goes no further
        who = proved if DEVICE_ID.fullmatch(proved) else JOINING
        parts.scheduler.proved(address, who, now)
        known = parts.scheduler.advertisers.get(address)
        parts.notes.note_link(who, known.rssi_dbm if known is not None else 0, now)
        if self.bonds.note_proof(address):
            logger.warning("%s proved its key: its old bond is removed", f"{PREFIX}{address}")
            task = asyncio.create_task(self._remove_bond(address))
            self._parking.add(task)
            task.add_done_callback(self._parking.discard)

    async def _remove_bond(self, address: str) -> None:
        try:
            await self._parts.radio.forget(address)
        except RadioError as exc:
            logger.warning("%s", exc)

    def _note_failure(self, address: str, fault: RadioError, *, has_leaked: bool) -> None:
        scheduler, now = self._parts.scheduler, self._parts.now()
        known = scheduler.advertisers.get(address)
        logger.debug("%s", fault)
        if isinstance(fault, BondLostError):
            was = known.proved if known is not None else ""
            if self.bonds.note_refusal(address, was, now):
                whose = f", of {was}," if was else ""
                logger.warning(
                    "bond lost: the device at %s%s does not have the key of its bond with this "
                    "machine any more, or another uses its address; if you have reset it, "
                    "`hecate devices radio --forget %s` removes the bond",
                    address, whose, address,
                )  # fmt: skip
            scheduler.postponed(address, now, BOND_WAIT_S)
        elif isinstance(fault, StaleLayoutError) and self._stale.get(address, 0) < STALE_LIMIT:
            self._stale[address] = self._stale.get(address, 0) + 1
            scheduler.postponed(address, now, 0.0)
        elif isinstance(fault, AdapterMissingError) or has_leaked:
            scheduler.postponed(address, now, 0.0)
        else:
            scheduler.failed(address, now)

    async def _end(self, address: str, reason: Ending) -> None:
        """End a device's turn."""
        parts = self._parts
        link = parts.radio.links.get(address)
        try:
            if reason is Ending.PARKED:
                [who] = [t.who for t in parts.scheduler.turns if t.address == address]
                parts.notes.park(who, address, parts.now())
                await parts.links.park(f"{PREFIX}{address}")
        finally:
            if link is not None:
                await parts.radio.close(link)
