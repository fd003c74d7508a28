"""Keeps the sensors that were heard and that the owner has not accepted, within bounds. Pure.

Advertisements come from anybody, under any address. So at most STRANGERS_LIMIT sensors are kept.
One that was heard only once makes room first, then the one that has been silent longest: a flood
of invented addresses displaces itself, and not the sensors that go on sending.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.sensors.frames import Frame, is_changing_address
from gateway.sensors.values import Packet
from hardware.radio.advertisement import Advertisement

STRANGERS_LIMIT = 64
SILENT_S = 3600.0
NAME_LIMIT = 64


@dataclass(slots=True)
class Stranger:
    """A sensor that nobody has accepted."""

    address: str
    first_at: float
    heard_at: float
    frame: Frame  # the last one
    rssi_dbm: int = 0
    name: str = ""
    address_type: str = ""
    packet: Packet | None = None  # the last content; None while encrypted
    frames: int = 0

    def note(
        self, frame: Frame, advertisement: Advertisement, name: str, packet: Packet | None
    ) -> None:
        """Note its newest frame; a name that came once stays."""
        self.frame, self.packet, self.name = frame, packet, name or self.name
        self.heard_at, self.rssi_dbm = advertisement.heard_at, advertisement.rssi_dbm
        self.address_type = advertisement.address_type
        self.frames += 1

    @property
    def changes_address(self) -> bool:
        """True when it could not be recognized the next time."""
        return not self.frame.holds_address and is_changing_address(self.address, self.address_type)


class Strangers:
    """The sensors that nobody has accepted, by address."""

    def __init__(self, limit: int = STRANGERS_LIMIT) -> None:
        self._strangers: dict[str, Stranger] = {}
        self._limit = limit
        self.displaced = 0

    def __len__(self) -> int:
        return len(self._strangers)

    def all(self, now: float) -> list[Stranger]:
        """Return the sensors of the last SILENT_S."""
        self._remove_silent(now)
        return list(self._strangers.values())

    def get(self, address: str, now: float) -> Stranger | None:
        """Return the sensor with an address, or None."""
        self._remove_silent(now)
        return self._strangers.get(address)

    def note(
        self, frame: Frame, advertisement: Advertisement, name: str, packet: Packet | None
    ) -> None:
        """Note a frame with what the scanner says, a printable name, and its content."""
        stranger, now = self._strangers.get(frame.address), advertisement.heard_at
        if stranger is None:
            self._make_space(now)
            stranger = self._strangers[frame.address] = Stranger(frame.address, now, now, frame)
        stranger.note(frame, advertisement, name, packet)

    def remove(self, address: str) -> None:
        """Forget a sensor."""
        self._strangers.pop(address, None)

    def _remove_silent(self, now: float) -> None:
        for address in _silent(self._strangers.values(), now):
            del self._strangers[address]

    def _make_space(self, now: float) -> None:
        if len(self._strangers) < self._limit:
            return
        self._remove_silent(now)
        if len(self._strangers) < self._limit:
            return
        longest = min(self._strangers.values(), key=lambda s: (s.frames > 1, s.heard_at))
        del self._strangers[longest.address]
        self.displaced += 1


def printable_name(name: str) -> str:
    """Return the name that a sensor says to have, safe to show."""
    return "".join(c for c in name if c.isprintable()).strip()[:NAME_LIMIT]


def _silent(strangers: Iterable[Stranger], now: float) -> list[str]:
    return [s.address for s in strangers if now - s.heard_at > SILENT_S]
