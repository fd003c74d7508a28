"""Holds the devices of a node by id."""

from collections.abc import Callable, Iterable

from gateway.devices.attributes import Attribute
from gateway.devices.record import DeviceRecord

DEVICE_LIMIT = 10_000

Seen = tuple[str, float, dict[str, Attribute], int]  # id, last message, attributes, conflicts


class DeviceRegistry:
    """The devices of a node, by id."""

    def __init__(self, devices: Iterable[DeviceRecord]) -> None:
        self._devices = {device.device_id: device for device in devices}
        self._seen: set[str] = set()
        self._on_conflict: list[Callable[[DeviceRecord], None]] = []

    def __len__(self) -> int:
        return len(self._devices)

    def all(self) -> list[DeviceRecord]:
        """Return the devices in the order of joining."""
        return list(self._devices.values())

    def get(self, device_id: str) -> DeviceRecord | None:
        """Return a device, or None."""
        return self._devices.get(device_id)

    def add(self, device: DeviceRecord) -> None:
        """Add a device, or replace one with the same id."""
        self._devices[device.device_id] = device

    def remove(self, device_id: str) -> DeviceRecord | None:
        """Remove a device and return it, or None."""
        self._seen.discard(device_id)
        return self._devices.pop(device_id, None)

    def authenticate(
        self, device_id: str, token: bytes, now: float = 0.0, expire_days: int = 0
    ) -> DeviceRecord | None:
        """Return the device if the token is its own, and not too old."""
        device = self._devices.get(device_id)
        return device if device is not None and device.has_token(token, now, expire_days) else None

    def unconfirmed(self, claim_digest: str, client_id: str) -> DeviceRecord | None:
        """Return the device of a join that has not logged in since, or None."""
        for device in self._devices.values():
            if (
                not device.confirmed
                and not device.is_revoked
                and device.claim_digest == claim_digest
                and device.client_id == client_id
            ):
                return device
        return None

    def find_board(self, client_id: str) -> DeviceRecord | None:
        """Return the device that a board joined as last, or None."""
        found = [d for d in self._devices.values() if d.client_id == client_id]
        return found[-1] if found else None

    def claims_in_use(self) -> set[str]:
        """Return the claims of devices that have not logged in since they joined."""
        return {d.claim_digest for d in self._devices.values() if not d.confirmed}

    def observe(self, device_id: str, topic: str, payload: bytes, now: float) -> None:
        """Note a message of a device; a device that is unknown has no effect."""
        device = self._devices.get(device_id)
        if device is not None:
            device.observe(topic, payload, now)
            self._seen.add(device_id)

    def report(self, device_id: str, attributes: dict[str, Attribute]) -> None:
        """Note attributes of a device that the gateway has found out."""
        device = self._devices.get(device_id)
        if device is not None:
            device.report(attributes)
            self._seen.add(device_id)

    def add_listener(self, on_conflict: Callable[[DeviceRecord], None]) -> None:
        """Call a function when two boards use the credentials of one device."""
        self._on_conflict.append(on_conflict)

    def report_conflict(self, device: DeviceRecord) -> None:
        """Tell that two boards use the credentials of a device."""
        self._seen.add(device.device_id)
        for listener in self._on_conflict:
            listener(device)

    def take_seen(self) -> list[Seen]:
        """Return the devices that sent or changed since the last call."""
        devices = [self._devices[device_id] for device_id in self._seen]
        self._seen.clear()
        return [(d.device_id, d.last_seen, d.attributes, d.conflicts) for d in devices]
