"""Makes the classes that bleak takes as `backend=`, over virtual adapters."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from bleak.args import SizedBuffer
from bleak.backends.adapter import BaseBleakAdapter
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDBusError, BleakDeviceNotFoundError, BleakError
from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Connection, Peer
from bumble.gatt_client import CharacteristicProxy

from tests.radio.adapters import MTU, VirtualAdapter, VirtualAdapters

ATT_HEAD = 3  # of a write or a notification
UUID_LISTS = (
    AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
    AdvertisingData.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
)
SERVICE_DATA = (AdvertisingData.SERVICE_DATA_16_BIT_UUID, AdvertisingData.SERVICE_DATA_128_BIT_UUID)
CCCD = "00002902-0000-1000-8000-00805f9b34fb"
NOTIFY, NOTHING = b"\x01\x00", b"\x00\x00"  # notifications only: that is what devices here have
PROPERTIES = ("broadcast", "read", "write-without-response", "write", "notify", "indicate")


@dataclass(frozen=True)
class Backend:
    """The classes for BleakScanner, BleakClient and BleakAdapter."""

    scanner: type[BaseBleakScanner]
    client: type[BaseBleakClient]
    adapter: type[BaseBleakAdapter]


def make_backend(adapters: VirtualAdapters) -> Backend:
    """Return the backend of these adapters."""
    shared = {"adapters": adapters}
    return Backend(
        type("VirtualScanner", (VirtualScanner,), shared),
        type("VirtualClient", (VirtualClient,), shared),
        type("VirtualBleakAdapter", (VirtualBleakAdapter,), shared),
    )


def text_of(identifier: UUID) -> str:
    """Return a UUID as bleak writes it."""
    return str(uuid.UUID(bytes=bytes(identifier.to_bytes(force_128=True))[::-1]))


class VirtualScanner(BaseBleakScanner):
    """Scans by the adapter that bluez={"adapter": …} names, or by the first."""

    adapters: ClassVar[VirtualAdapters]

    def __init__(
        self,
        detection_callback: Any,
        service_uuids: list[str] | None,
        _scanning_mode: str = "active",
        *,
        bluez: Mapping[str, Any] | None = None,
        **_: object,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._name = (bluez or {}).get("adapter")
        self._adapter: VirtualAdapter | None = None

    async def start(self) -> None:
        adapter = self.adapters.find(self._name)
        if adapter.is_scanning:  # BlueZ: one scan for each program
            raise BleakDBusError("org.bluez.Error.InProgress", ["Operation already in progress"])
        self.seen_devices = {}
        self._adapter = adapter
        await adapter.start_scan(self._hear)

    async def stop(self) -> None:
        adapter = self._adapter
        if adapter is None:
            return
        if adapter.faults.stops_in_progress > 0:
            adapter.faults.stops_in_progress -= 1
            raise BleakDBusError("org.bluez.Error.InProgress", ["Operation already in progress"])
        await adapter.stop_scan(self._hear)
        self._adapter = None

    def _hear(self, heard: Advertisement) -> None:
        data: Any = heard.data
        name = data.get(AdvertisingData.COMPLETE_LOCAL_NAME)
        uuids = [
            text_of(one) for kind in UUID_LISTS for found in data.get_all(kind) for one in found
        ]
        described = AdvertisementData(
            name,
            {
                int(m[0]): bytes(m[1])
                for m in data.get_all(AdvertisingData.MANUFACTURER_SPECIFIC_DATA)
            },
            {text_of(s[0]): bytes(s[1]) for kind in SERVICE_DATA for s in data.get_all(kind)},
            uuids,
            None,
            heard.rssi,
            (),
        )
        if not self.is_allowed_uuid(uuids):
            return
        address = heard.address.to_string(with_type_qualifier=False)
        details = {"props": {"AddressType": "public" if heard.address.is_public else "random"}}
        device = self.create_or_update_device(address, address, name, details, described)
        self.call_detection_callbacks(device, described)


class VirtualClient(BaseBleakClient):
    """One link, over the adapter that bluez={"adapter": …} names, or over the first."""

    adapters: ClassVar[VirtualAdapters]

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        bluez: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(address_or_ble_device, **options)
        self._adapter_name = (bluez or {}).get("adapter")
        self._adapter: VirtualAdapter | None = None
        self._connection: Connection | None = None
        self._is_up = False
        self._notified: dict[int, Callable[[bytes], None]] = {}

    @property
    def name(self) -> str:
        return self.address

    @property
    def mtu_size(self) -> int:
        connection, adapter = self._need()
        return adapter.faults.claimed_mtu or connection.att_mtu

    @property
    def is_connected(self) -> bool:
        return self._is_up

    async def connect(self, pair: bool, **_: object) -> None:
        adapter = self._adapter = self.adapters.find(self._adapter_name)
        try:
            connection = await adapter.connect(self.address, self._timeout)
        except BaseBumbleError as exc:
            raise BleakDeviceNotFoundError(self.address, repr(exc)) from exc
        self._connection, self._is_up = connection, True
        connection.on(connection.EVENT_DISCONNECTION, self._lose)
        try:
            if pair:
                await self.pair()
            peer = Peer(connection)
            await peer.request_mtu(MTU)
            self.services = await self._discover(peer, adapter)
        except BaseException as exc:
            await self.disconnect()
            if isinstance(exc, BaseBumbleError):
                raise BleakError(f"failed to discover services: {exc!r}") from exc
            raise

    async def _discover(self, peer: Peer, adapter: VirtualAdapter) -> BleakGATTServiceCollection:
        kept = adapter.services.get(self.address)
        if adapter.faults.keeps_services and isinstance(kept, BleakGATTServiceCollection):
            return kept
        found = BleakGATTServiceCollection()
        await peer.discover_services()
        for service in peer.services:
            described = BleakGATTService(service, service.handle, text_of(service.uuid))
            found.add_service(described)
            for characteristic in await peer.discover_characteristics(service=service):
                await self._describe(peer, characteristic, described, found)
        adapter.services[self.address] = found
        return found

    async def _describe(
        self,
        peer: Peer,
        characteristic: CharacteristicProxy[bytes],
        service: BleakGATTService,
        found: BleakGATTServiceCollection,
    ) -> None:
        bits = int(characteristic.properties)
        described = BleakGATTCharacteristic(
            characteristic,
            characteristic.handle,
            text_of(characteristic.uuid),
            [name for bit, name in enumerate(PROPERTIES) if bits >> bit & 1],  # type: ignore[misc]
            lambda: self.mtu_size - ATT_HEAD,
            service,
        )
        found.add_characteristic(described)
        for descriptor in await peer.discover_descriptors(characteristic=characteristic):
            found.add_descriptor(
                BleakGATTDescriptor(
                    descriptor, descriptor.handle, text_of(descriptor.type), described
                )
            )

    def _lose(self, _: object) -> None:
        if self._adapter is not None and self._adapter.faults.hides_disconnects:
            return
        was_up, self._is_up = self._is_up, False
        self._notified.clear()
        if was_up and self._disconnected_callback is not None:
            self._disconnected_callback()

    def _need(self) -> tuple[Connection, VirtualAdapter]:
        if self._connection is None or self._adapter is None or not self._is_up:
            raise BleakError("Not connected")
        return self._connection, self._adapter

    async def disconnect(self) -> None:
        connection, adapter = self._connection, self._adapter
        if connection is None or adapter is None or not self._is_up:
            return
        if adapter.faults.leaks_links:
            self._lose(None)
        elif adapter.links.get(self.address) is connection and adapter.is_plugged:
            await connection.disconnect()
        self._is_up = False

    async def pair(self, *_: object, **__: object) -> None:
        connection, adapter = self._need()
        await self._call(connection.pair())
        adapter.bonds.add(self.address)

    async def unpair(self) -> None:
        adapter = self.adapters.find(self._adapter_name)
        adapter.services.pop(self.address, None)
        adapter.bonds.discard(self.address)

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, **_: object
    ) -> bytearray:
        return await self._read(characteristic.handle)

    async def read_gatt_descriptor(self, descriptor: BleakGATTDescriptor, **_: object) -> bytearray:
        return await self._read(descriptor.handle)

    async def _read(self, handle: int) -> bytearray:
        return bytearray(await self._call(self._need()[0].gatt_client.read_value(handle)))

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        connection, adapter = self._need()
        for value in adapter.faults.writes.apply(bytes(data)):
            if len(value) > connection.att_mtu - ATT_HEAD and not response:
                continue  # of which a stack says nothing
            write = connection.gatt_client.write_value(characteristic.handle, value, response)
            await self._call(write)

    async def write_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, data: SizedBuffer
    ) -> None:
        write = self._need()[0].gatt_client.write_value(descriptor.handle, bytes(data), True)
        await self._call(write)

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_: object
    ) -> None:
        connection, adapter = self._need()
        is_early = adapter.faults.early_s > 0

        def notified(value: bytes) -> None:
            if is_early:
                return
            for arrived in adapter.faults.notifications.apply(value):
                callback(bytearray(arrived))

        self._notified[characteristic.handle] = notified
        listeners = connection.gatt_client.notification_subscribers
        listeners.setdefault(characteristic.handle, set()).add(notified)
        await self._configure(characteristic, NOTIFY)
        if is_early:
            await asyncio.sleep(adapter.faults.early_s)
            is_early = False

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        connection, _ = self._need()
        notified = self._notified.pop(characteristic.handle, None)
        if notified is not None:
            connection.gatt_client.notification_subscribers[characteristic.handle].discard(notified)
        await self._configure(characteristic, NOTHING)

    async def _configure(self, characteristic: BleakGATTCharacteristic, value: bytes) -> None:
        """Write to the descriptor by which a client subscribes."""
        descriptor = characteristic.get_descriptor(CCCD)
        if descriptor is None:
            raise BleakError(f"characteristic {characteristic.uuid} does not notify")
        await self.write_gatt_descriptor(descriptor, value)

    async def _call(self, work: Any) -> Any:
        try:
            return await work
        except BaseBumbleError as exc:
            raise BleakError(repr(exc)) from exc


class VirtualBleakAdapter(BaseBleakAdapter):
    """Tells which links an adapter really has."""

    adapters: ClassVar[VirtualAdapters]

    def __init__(self, name: str | None) -> None:
        self._name = name

    @classmethod
    async def get(cls, *, bluez: Mapping[str, Any] | None = None, **_: object) -> Self:
        return cls((bluez or {}).get("adapter"))

    async def get_connected_devices(self, service_uuids: frozenset[str]) -> list[BLEDevice]:  # noqa: ARG002
        links = self.adapters.find(self._name).links
        return [BLEDevice(address, None, {}) for address in links]
