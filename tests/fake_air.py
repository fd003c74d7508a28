"""Stands for a Bluetooth stack and the devices around it, within one event loop.

Adapters and devices do what a test says; bleak drives it through its interface for backends. For
what only a real stack would do there is tests/radio.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bleak.args import SizedBuffer
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDBusError, BleakError

from hardware.radio.adapters import Adapter
from hardware.radio.backend import RadioBackend
from hardware.radio.hecate_service import LAYOUT, RX, SERVICE, TX

ADDRESS = "F0:00:00:00:00:01"  # of the first adapter
PROPERTIES: dict[str, list[Any]] = {
    RX: ["write-without-response"],
    TX: ["notify"],
    LAYOUT: ["read"],
}


@dataclass
class AirDevice:
    """One device: what it advertises, and what its characteristics do."""

    address: str
    service_data: bytes | None = b"\x00\x01"
    layout: int = 1
    first_handle: int = 10  # of RX; TX and LAYOUT follow
    is_silent: bool = False
    refuses_bond: bool = False
    connects: bool = True
    connect_s: float = 0.5
    notifies_early: bool = False  # before the answer to the subscription
    on_write: Callable[["AirDevice", bytes], None] = lambda *_: None
    on_subscribe: Callable[["AirDevice"], None] = lambda _: None
    notify: Callable[[bytes], None] = lambda _: None  # of its link
    writes: list[tuple[str, bytes]] = field(default_factory=list)  # characteristic, value
    link: "AirClient | None" = None

    def uuid_of(self, handle: int) -> str:
        """Return the characteristic that has a handle now."""
        return dict(enumerate((RX, TX, LAYOUT), self.first_handle)).get(handle, "")


class Air:
    """Everything in reach; an AdapterSystem."""

    def __init__(self) -> None:
        self.plugged = [Adapter(ADDRESS, "hci0")]
        self.devices: dict[str, AirDevice] = {}
        self.real_links: dict[str, str] = {}  # address of a device, name of the adapter
        self.caches: dict[str, tuple[int, int]] = {}  # first handle and layout, by address
        self.bonds: set[str] = set()
        self.limit = 99
        self.scanners: list[AirScanner] = []
        # faults
        self.is_down = False  # the daemon does not run
        self.keeps_services = False
        self.is_silent = False  # scanners report nothing
        self.silent_scanners = 0  # so many of the next ones report nothing
        self.stops_in_progress = 0
        self.starts_hang = 0
        self.starts_in_progress = 0
        self.hides_disconnects = False
        self.leaks_links = False
        self.restarts = 0
        self.connected_while_scanning = 0
        self.refuses_while_scanning = False

    def add(self, device: AirDevice) -> AirDevice:
        """Put a device on the air."""
        self.devices[device.address] = device
        return device

    def backend(self) -> RadioBackend:
        """Return what hardware.radio works with."""
        shared = {"air": self}
        return RadioBackend(
            self,
            type("SharedScanner", (AirScanner,), shared),
            type("SharedClient", (AirClient,), shared),
        )

    def unplug(self) -> None:
        """Take all adapters away."""
        self.plugged = []
        self.lose_all()

    def lose_all(self) -> None:
        """End all links, and all scans."""
        for scanner in self.scanners:
            scanner.is_dead = True
        for address in list(self.real_links):
            self.cut(address)

    def cut(self, address: str) -> None:
        """End a link as a device does that goes away."""
        self.real_links.pop(address, None)
        device = self.devices[address]
        client, device.link = device.link, None
        device.notify = lambda _: None
        if client is not None and not self.hides_disconnects:
            client.drop()

    def is_there(self, name: str | None) -> bool:
        """Return whether an adapter can be used under this name."""
        return not self.is_down and any(a.name == name for a in self.plugged)

    async def adapters(self) -> list[Adapter]:
        if self.is_down:
            raise BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", ["no bluez"])
        return list(self.plugged)

    async def connected(self, adapter: Adapter) -> list[str]:
        return [a for a, name in self.real_links.items() if name == adapter.name]

    async def disconnect(self, adapter: Adapter, address: str) -> None:
        assert self.is_there(adapter.name)
        self.cut(address)

    async def bonded(self, adapter: Adapter) -> list[str]:
        assert self.is_there(adapter.name)
        return sorted(self.bonds)

    async def forget(self, adapter: Adapter, address: str) -> None:
        assert self.is_there(adapter.name)
        self.caches.pop(address, None)
        self.bonds.discard(address)

    async def restart(self, adapter: Adapter) -> None:
        assert self.is_there(adapter.name)
        self.restarts += 1
        self.lose_all()


class AirScanner(BaseBleakScanner):
    """Hears every device without a link twice a second."""

    air: Air

    def __init__(self, callback: Any, uuids: Any, mode: str, *, bluez: Any, **_: Any) -> None:
        super().__init__(callback, uuids)
        assert mode == "active"
        self._name = bluez.get("adapter")
        self._task: asyncio.Task[None] | None = None
        self.is_dead = False

    async def start(self) -> None:
        air = self.air
        if air.starts_hang > 0:
            air.starts_hang -= 1
            await asyncio.sleep(1e6)
        if not air.is_there(self._name):
            raise BleakError(f"adapter '{self._name}' not found")
        if air.starts_in_progress > 0:
            air.starts_in_progress -= 1
            raise BleakDBusError("org.bluez.Error.InProgress", ["Operation already in progress"])
        if air.silent_scanners > 0:
            air.silent_scanners -= 1
            self.is_dead = True
        air.scanners.append(self)
        self._task = asyncio.create_task(self._scan())

    async def stop(self) -> None:
        air = self.air
        if air.stops_in_progress > 0:
            air.stops_in_progress -= 1  # and goes on scanning
            raise BleakDBusError("org.bluez.Error.InProgress", ["Operation already in progress"])
        if self in air.scanners:
            air.scanners.remove(self)
        if self._task is not None:
            self._task.cancel()

    async def _scan(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for device in list(self.air.devices.values()):
                is_heard = not device.is_silent and device.address not in self.air.real_links
                if is_heard and not self.is_dead and not self.air.is_silent:
                    self._report(device)

    def _report(self, device: AirDevice) -> None:
        data = {} if device.service_data is None else {SERVICE: device.service_data}
        heard = AdvertisementData(None, {}, data, [], None, -60, ())
        handle = self.create_or_update_device(
            device.address, device.address, None, {"path": self._name}, heard
        )
        self.call_detection_callbacks(handle, heard)


class AirClient(BaseBleakClient):
    """Connects to one device."""

    air: Air

    def __init__(self, device: Any, *, bluez: Any, **kwargs: Any) -> None:
        kwargs.pop("services", None), kwargs.pop("winrt", None)
        super().__init__(device, **kwargs)
        self._path = device.details["path"]
        self._name = bluez.get("adapter")
        self._is_connected = False
        self._device: AirDevice | None = None

    @property
    def mtu_size(self) -> int:
        return 247

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    async def connect(self, pair: bool, **_: Any) -> None:
        air = self.air
        device = air.devices[self.address]
        assert not pair
        if self._path != self._name or not air.is_there(self._name):
            raise BleakError(f"device '{self._path}' not found")
        if any(not s.is_dead for s in air.scanners):
            air.connected_while_scanning += 1
            if air.refuses_while_scanning:
                raise BleakDBusError("org.bluez.Error.InProgress", ["in progress"])
        await asyncio.sleep(device.connect_s)
        if device.refuses_bond and device.address in air.bonds:
            raise BleakDBusError("org.bluez.Error.AuthenticationFailed", ["Key Missing"])
        if not device.connects or len(air.real_links) >= air.limit:
            raise BleakDBusError("org.bluez.Error.Failed", ["le-connection-abort-by-local"])
        if self.address in air.real_links:
            raise BleakDBusError("org.bluez.Error.AlreadyConnected", [""])
        air.real_links[self.address] = str(self._name)
        self._is_connected, self._device, device.link = True, device, self
        self.services = self._discover(device)

    def _discover(self, device: AirDevice) -> BleakGATTServiceCollection:
        first = device.first_handle
        if self.air.keeps_services:
            first, _ = self.air.caches.setdefault(device.address, (first, device.layout))
        collection = BleakGATTServiceCollection()
        service = BleakGATTService(None, first - 1, SERVICE)
        collection.add_service(service)
        for handle, uuid in enumerate((RX, TX, LAYOUT), first):
            made = BleakGATTCharacteristic(
                None, handle, uuid, PROPERTIES[uuid], lambda: 244, service
            )
            collection.add_characteristic(made)
        return collection

    def drop(self) -> None:
        """End without having been asked."""
        self._is_connected = False
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        device = self._device
        is_mine = device is not None and device.link is self
        if self._is_connected and is_mine and not self.air.leaks_links:
            assert device is not None
            self.air.real_links.pop(self.address, None)
            device.link, device.notify = None, lambda _: None
        self._is_connected = False

    async def pair(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    async def unpair(self) -> None:
        raise NotImplementedError

    async def read_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        *,
        use_cached: bool = False,  # noqa: ARG002
        **_: Any,
    ) -> bytearray:
        device = self._need()
        uuid = device.uuid_of(characteristic.handle)
        if uuid != LAYOUT:
            return bytearray()
        return bytearray((device.layout,))

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        device = self._need()
        assert not response
        await asyncio.sleep(0)
        uuid, value = device.uuid_of(characteristic.handle), bytes(data)
        device.writes.append((uuid, value))
        if uuid == RX:
            device.on_write(device, value)

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_: Any
    ) -> None:
        device = self._need()
        if device.uuid_of(characteristic.handle) != TX:
            raise BleakError("cannot subscribe")
        if device.notifies_early:
            callback(bytearray(b"early"))
        await asyncio.sleep(0.01)
        device.notify = lambda value: callback(bytearray(value))
        device.on_subscribe(device)

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:  # noqa: ARG002
        self._need().notify = lambda _: None

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **_: Any
    ) -> bytearray:
        raise NotImplementedError

    async def write_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, data: SizedBuffer
    ) -> None:
        raise NotImplementedError

    def _need(self) -> AirDevice:
        if not self._is_connected or self._device is None:
            raise BleakError("Not connected")
        if self.address not in self.air.real_links:
            raise BleakDBusError("org.bluez.Error.Failed", ["Not connected"])
        return self._device


@contextlib.asynccontextmanager
async def running(run: Any) -> Any:
    """Run a coroutine beside the body of the context."""
    task = asyncio.create_task(run)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
