"""Says which devices count as online while they wait for their next link. Pure.

The gateway ends links to make room. For its owner, a device does not go offline and online with
that: it can be reached, only a little later. So a device whose link was ended to make room stays
online as long as it is heard. It is offline when nobody has heard it for AWAY_S, or when it had no
link for LONGEST_S: what is heard then may be another device with its address.
"""

from collections.abc import Callable
from dataclasses import dataclass

AWAY_S = 60.0
LONGEST_S = 900.0


@dataclass(frozen=True, slots=True)
class ParkedDevice:
    """A device whose link was ended to make room."""

    device_id: str
    address: str
    since: float


class Presence:
    """The devices that count as online without a link."""

    def __init__(self) -> None:
        self._parked: dict[str, ParkedDevice] = {}

    @property
    def parked(self) -> tuple[ParkedDevice, ...]:
        """The devices that wait for their next link."""
        return tuple(self._parked.values())

    def park(self, device_id: str, address: str, now: float) -> None:
        """Note that a device's link was ended to make room."""
        self._parked[device_id] = ParkedDevice(device_id, address, now)

    def come_back(self, device_id: str) -> None:
        """Note that a device has a link again, or is not one of this gateway any more."""
        self._parked.pop(device_id, None)

    def take_away(self, heard_at: Callable[[str], float | None], now: float) -> list[str]:
        """Return, once, the devices that are offline now; heard_at tells of an address."""
        gone = []
        for parked in self.parked:
            last = heard_at(parked.address)
            silent_s = now - max(parked.since, last if last is not None else parked.since)
            if silent_s > AWAY_S or now - parked.since > LONGEST_S:
                del self._parked[parked.device_id]
                gone.append(parked.device_id)
        return gone

    def take_all(self) -> list[str]:
        """Return, once, all of them."""
        gone = list(self._parked)
        self._parked.clear()
        return gone
