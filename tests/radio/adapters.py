"""Plays the Bluetooth adapters of a gateway: hosts of bumble at the controllers of a radio."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from bleak.exc import BleakBluetoothNotAvailableError, BleakBluetoothNotAvailableReason, BleakError
from bumble.device import Advertisement, Connection, Device
from bumble.hci import Address
from bumble.transport import open_transport

from hardware.radio.adapters import Adapter
from tests.radio.faults import AdapterFaults

if TYPE_CHECKING:
    from bumble.transport.common import Transport

MTU = 517  # bleak asks for it on Linux
HEARD = "advertisement"


class VirtualAdapter:
    """One adapter; unplugging it ends its links, and it may return under another name."""

    def __init__(self, name: str, address: str, hci_port: int) -> None:
        self.name = name
        self.address = address
        self.faults = AdapterFaults()
        self.links: dict[str, Connection] = {}  # by the device's address; leaked ones among them
        self.connecting = asyncio.Lock()  # bumble takes one connect() at a time
        self.services: dict[str, object] = {}  # by address; filled with keeps_services
        self.bonds: set[str] = set()
        self.restarts = 0
        self._port = hci_port
        self._transport: Transport | None = None
        self._device: Device | None = None
        self._scans: set[Callable[[Advertisement], None]] = set()

    @property
    def is_plugged(self) -> bool:
        """True while the adapter is there."""
        return self._device is not None

    @property
    def device(self) -> Device:
        """The host; BleakError when the adapter is not there."""
        if self._device is None:
            raise BleakError(f"adapter '{self.name}' not found")
        return self._device

    @property
    def is_scanning(self) -> bool:
        """True while a scanner runs."""
        return bool(self._scans)

    async def plug(self, name: str = "") -> None:
        """Power the adapter on, with another name if one is given."""
        self.name = name or self.name
        self._transport = await open_transport(f"tcp-client:127.0.0.1:{self._port}")
        device = Device.with_hci(
            self.name, Address(self.address), self._transport.source, self._transport.sink
        )
        device.on(HEARD, self._hear)
        await device.power_on()
        self._device = device

    async def unplug(self) -> None:
        """Take the adapter away, as a person does."""
        transport, self._transport, self._device = self._transport, None, None
        self._scans.clear()
        links, self.links = self.links, {}
        for connection in links.values():
            connection.emit(connection.EVENT_DISCONNECTION, 0x13)
        if transport is not None:
            await transport.close()

    async def start_scan(self, listener: Callable[[Advertisement], None]) -> None:
        """Pass what is heard to a listener."""
        is_first = not self._scans
        self._scans.add(listener)
        if is_first:
            await self.device.start_scanning(active=True)

    async def stop_scan(self, listener: Callable[[Advertisement], None]) -> None:
        """Pass nothing more to a listener."""
        self._scans.discard(listener)
        if not self._scans and self._device is not None and self._device.is_scanning:
            await self._device.stop_scanning()

    def _hear(self, advertisement: Advertisement) -> None:
        if not self.faults.is_silent:
            for listener in list(self._scans):
                listener(advertisement)

    async def connect(self, address: str, timeout_s: float) -> Connection:
        """Return a link to a device; BleakError when there is none to be had."""
        faults = self.faults
        async with self.connecting:
            if faults.refused_connects > 0:
                faults.refused_connects -= 1
                raise BleakError("org.bluez.Error.Failed: le-connection-abort-by-local")
            if 0 < faults.link_limit <= len(self.links):
                raise BleakError("org.bluez.Error.Failed: no free connection")
            if address in self.links:
                raise BleakError("org.bluez.Error.AlreadyConnected")
            try:
                async with asyncio.timeout(timeout_s):
                    connection = await self.device.connect(Address(address), timeout=None)
            except TimeoutError:
                await self._cancel()
                raise
        self.links[address] = connection
        connection.on(connection.EVENT_DISCONNECTION, lambda _: self.links.pop(address, None))
        return connection

    async def _cancel(self) -> None:
        if self._device is not None and self._device.is_le_connecting:
            await self._device.cancel_connection()  # type: ignore[no-untyped-call]


class VirtualAdapters:
    """All adapters of a gateway, as bleak's backend and hardware.radio see them.

    It is an AdapterSystem, and a context that unplugs everything.
    """

    def __init__(self, hci_port: int) -> None:
        self._port = hci_port
        self._adapters: list[VirtualAdapter] = []

    async def add(self, name: str = "hci0", address: str = "F0:00:00:00:00:01") -> VirtualAdapter:
        """Plug a new adapter in."""
        adapter = VirtualAdapter(name, address, self._port)
        self._adapters.append(adapter)
        await adapter.plug()
        return adapter

    def find(self, name: str | None) -> VirtualAdapter:
        """Return an adapter by its name, or the first; BleakError when it is not there."""
        there = [one for one in self._adapters if one.is_plugged and name in (None, one.name)]
        if there:
            return there[0]
        if name is not None:
            raise BleakError(f"adapter '{name}' not found")
        raise BleakBluetoothNotAvailableError(
            "No Bluetooth adapters found.", BleakBluetoothNotAvailableReason.NO_BLUETOOTH
        )

    async def adapters(self) -> list[Adapter]:
        """Return the adapters that are there."""
        return [Adapter(one.address, one.name) for one in self._adapters if one.is_plugged]

    async def connected(self, adapter: Adapter) -> list[str]:
        """Return the devices that an adapter really has a link to."""
        return list(self.find(adapter.name).links)

    async def disconnect(self, adapter: Adapter, address: str) -> None:
        """End a link, also one that leaked."""
        connection = self.find(adapter.name).links.get(address)
        if connection is not None:
            await connection.disconnect()

    async def bonded(self, adapter: Adapter) -> list[str]:
        """Return the devices that the adapter has a bond with."""
        return list(self.find(adapter.name).bonds)

    async def forget(self, adapter: Adapter, address: str) -> None:
        """Drop the services and the bond of a device."""
        found = self.find(adapter.name)
        found.services.pop(address, None)
        found.bonds.discard(address)

    async def restart(self, adapter: Adapter) -> None:
        """Switch an adapter off and on."""
        found = self.find(adapter.name)
        found.restarts += 1
        await found.unplug()
        await found.plug()

    async def __aenter__(self) -> "VirtualAdapters":
        return self

    async def __aexit__(self, *_: object) -> None:
        for adapter in self._adapters:
            await adapter.unplug()
