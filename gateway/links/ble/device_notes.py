"""Notes in the registry what the radio knows about devices: link, signal, and presence."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from broker import LocalClient
from gateway.devices.registry import DeviceRegistry
from gateway.links.ble.presence import Presence
from protocol.ids import DEVICE_ID
from protocol.topics import OFFLINE, status_topic

if TYPE_CHECKING:
    from gateway.devices.attributes import Attribute

NOTE_S = 60.0  # between two notes of the signal of one device
LIMIT = 1024
WITHOUT_RSSI = -127  # of BlueZ, for a device whose signal was not measured


class DeviceNotes:
    """Notes presence and signal of devices behind Bluetooth LE."""

    def __init__(self, registry: DeviceRegistry, local: LocalClient) -> None:
        self._registry, self._local = registry, local
        self._noted_at: dict[str, float] = {}
        self.presence = Presence()

    def note_link(self, device_id: str, rssi_dbm: int, now: float) -> None:
        """Note that a device has a link."""
        self.presence.come_back(device_id)
        self._note(device_id, rssi_dbm, now)

    def note_signal(self, device_id: str, rssi_dbm: int, now: float) -> None:
        """Note how strongly a device is heard, now and then; nothing of it is proved."""
        if now - self._noted_at.get(device_id, -NOTE_S) >= NOTE_S:
            self._note(device_id, rssi_dbm, now)

    def park(self, device_id: str, address: str, now: float) -> None:
        """Note that a device waits for its next link, and stays online."""
        device = self._registry.get(device_id)
        if device is not None and device.is_up:
            device.wait_for_link()
            self.presence.park(device_id, address, now)

    def check(self, heard_at: Callable[[str], float | None], now: float) -> None:
        """Say of devices that are gone that they are offline."""
        for device_id in self.presence.take_away(heard_at, now):
            self._say_offline(device_id)

    def end(self) -> None:
        """Say of all that wait that they are offline: nobody serves them any more."""
        for device_id in self.presence.take_all():
            self._say_offline(device_id)

    def _say_offline(self, device_id: str) -> None:
        device = self._registry.get(device_id)
        if device is not None and device.waits_for_link:
            device.note_away()
            self._local.publish(status_topic(device_id), OFFLINE, qos=1, retain=True)

    def _note(self, device_id: str, rssi_dbm: int, now: float) -> None:
        if not DEVICE_ID.fullmatch(device_id):
            return
        self._noted_at.pop(device_id, None)
        self._noted_at[device_id] = now
        if len(self._noted_at) > LIMIT:
            del self._noted_at[next(iter(self._noted_at))]
        attributes: dict[str, Attribute] = {"link": "ble"}
        if WITHOUT_RSSI < rssi_dbm <= 20:
            attributes["rssi"] = rssi_dbm
        self._registry.report(device_id, attributes)
