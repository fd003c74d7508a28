"""Holds the devices of a node and their counters."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.devices.credentials import is_token
from gateway.devices.take_overs import TakeOvers
from protocol.topics import ONLINE, status_topic

DEVICE_LIMIT = 10_000
SHOWN_CHARACTERS = 200  # of a payload, in the status


@dataclass(slots=True)
class DeviceRecord:
    """A device that joined; the counters start with the process."""

    device_id: str
    name: str
    model: str
    token_digest: str
    joined_at: float
    claim_digest: str = ""  # with client_id: lets a join be repeated, until confirmed
    client_id: str = ""
    confirmed: bool = False  # it has logged in with its own credentials
    last_seen: float = 0.0
    messages: int = 0
    last_topic: str = ""
    last_payload: bytes = b""
    is_up: bool = False  # as it says itself; its will says that it is not
    conflicts: int = 0  # times that logins of a second board were held off
    take_overs: TakeOvers = field(default_factory=TakeOvers)

    def observe(self, topic: str, payload: bytes, now: float) -> None:
        """Note a message of the device."""
        self.last_seen = now
        self.messages += 1
        self.last_topic = topic
        self.last_payload = payload[: SHOWN_CHARACTERS * 4]
        if topic == status_topic(self.device_id):
            self.is_up = payload == ONLINE

    def admit(self, now: float) -> bool:
        """Note a login with the device's credentials; return False while it has to be held off."""
        if not self.is_up:
            return True
        was_held = self.take_overs.is_holding(now)
        if self.take_overs.admit(now):
            return True
        self.conflicts += not was_held
        return False

    def confirm(self) -> None:
        """Note that the device has logged in with its own credentials: its join is over."""
        self.confirmed = True


class DeviceRegistry:
    """The devices of a node, by id."""

    def __init__(self, devices: Iterable[DeviceRecord]) -> None:
        self._devices = {device.device_id: device for device in devices}
        self._seen: set[str] = set()

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

    def authenticate(self, device_id: str, token: bytes) -> DeviceRecord | None:
        """Return the device if the token is its own."""
        device = self._devices.get(device_id)
        return device if device is not None and is_token(token, device.token_digest) else None

    def unconfirmed(self, claim_digest: str, client_id: str) -> DeviceRecord | None:
        """Return the device of a join that has not logged in since, or None."""
        for device in self._devices.values():
            if (
                not device.confirmed
                and device.claim_digest == claim_digest
                and device.client_id == client_id
            ):
                return device
        return None

    def claims_in_use(self) -> set[str]:
        """Return the claims of devices that have not logged in since they joined."""
        return {d.claim_digest for d in self._devices.values() if not d.confirmed}

    def observe(self, device_id: str, topic: str, payload: bytes, now: float) -> None:
        """Note a message of a device; a device that is unknown has no effect."""
        device = self._devices.get(device_id)
        if device is not None:
            device.observe(topic, payload, now)
            self._seen.add(device_id)

    def take_seen(self) -> list[tuple[str, float]]:
        """Return the devices that sent since the last call, with the time."""
        seen = [(i, self._devices[i].last_seen) for i in self._seen]
        self._seen.clear()
        return seen


def shown(payload: bytes) -> str:
    """Return the start of a payload as text for people."""
    return payload.decode("utf-8", errors="replace")[:SHOWN_CHARACTERS]
