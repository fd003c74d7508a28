"""Builds the part of a gateway that serves devices behind Bluetooth LE, and answers for it."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broker import Broker
from gateway.devices.registry import DeviceRegistry
from gateway.links.ble.describe import BluetoothView
from gateway.links.ble.device_notes import DeviceNotes
from gateway.links.ble.host import BluetoothHost, HostParts
from gateway.links.ble.scheduler import DEFAULT_TIMES, LinkScheduler, TurnTimes
from gateway.links.ble.settings import BluetoothSettings
from gateway.links.links import Links, LinkStatus
from hardware.radio.advertisement_source import AdvertisementSource
from hardware.radio.backend import RadioBackend
from hardware.radio.errors import RadioError
from hardware.radio.radio import Radio

NAME = "ble"


class Bluetooth:
    """The radio of a gateway, and the devices behind it: one of the sources of links."""

    def __init__(
        self,
        radio: Radio,
        scheduler: LinkScheduler,
        host: BluetoothHost,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._radio, self._scheduler, self._host, self._now = radio, scheduler, host, now
        self._view = BluetoothView(radio, scheduler, host.bonds)

    @property
    def source(self) -> AdvertisementSource:
        """The advertisements that the radio hears, of Hecate devices and of others."""
        return self._radio.source

    async def run(self) -> None:
        """Serve devices until cancelled."""
        await self._host.run()

    def closed(self) -> list[LinkStatus]:
        """Return the radio as a link that does not stand, when it has no adapter."""
        problem = self._radio.problem
        return [LinkStatus.closed(NAME, problem)] if problem else []

    async def pause(self, path: Path, seconds: float) -> bool:  # noqa: ARG002  # of LinkSource
        """Return False: the adapter is not at a path that another program needs."""
        return False

    def describe(self) -> dict[str, Any]:
        """Return the state of the radio and of the devices behind it."""
        return self._view.describe(self._now())

    def warning(self) -> str:
        """Return what a person should do something about; "" when all is well."""
        return self._view.warning()

    async def forget_bond(self, address: str) -> str:
        """Remove the bond of a device, as its owner says; return why that cannot be, or ""."""
        try:
            bonded = await self._radio.bonded()
            if address not in bonded:
                others = ", ".join(sorted(bonded)) or "none"
                return f"the adapter has no bond with it; its bonds: {others}"
            await self._radio.forget(address)
        except RadioError as exc:
            return str(exc)
        self._host.bonds.remove(address)
        known = self._scheduler.advertisers.get(address)
        if known is not None:
            known.allow(self._now())
        return ""


def build_bluetooth(
    settings: BluetoothSettings,
    links: Links,
    registry: DeviceRegistry,
    broker: Broker,
    backend: RadioBackend | None = None,
    times: TurnTimes = DEFAULT_TIMES,
) -> Bluetooth:
    """Return the part; a backend takes the place of BlueZ."""
    if backend is None:
        from hardware.radio.bluez import BluezSystem

        backend = RadioBackend(BluezSystem())
    radio = Radio(backend, settings.adapter)
    scheduler = LinkScheduler(settings.links, random.random, times)

    def has_messages(device_id: str) -> bool:
        queue = broker.queue(device_id)
        return queue is not None and queue.waiting + queue.in_flight > 0

    notes = DeviceNotes(registry, broker.local_client("bluetooth"))
    host = BluetoothHost(HostParts(radio, links, has_messages, scheduler, notes))
    return Bluetooth(radio, scheduler, host)
