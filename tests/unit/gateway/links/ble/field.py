"""Plays devices around an adapter against the scheduler, in steps of simulated time."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.links.ble.scheduler import Ending, LinkScheduler
from hardware.radio.hecate_service import ServiceState

STEP_S = 0.25
OPEN_S, PROVE_S, CLOSE_S = 1.5, 0.5, 0.5


@dataclass
class FieldDevice:
    """One device: in which seconds of its turns it talks, and whether it proves its key."""

    address: str
    proves: bool = True
    talks: bool = False  # all the time
    has_data: bool = False  # so it says
    is_away: bool = False
    served_at: list[float] = field(default_factory=list)  # of its proofs
    served_s: float = 0.0
    turns: int = 0


class Field:
    """Does for the scheduler what the host does."""

    def __init__(self, links: int, devices: Iterable[FieldDevice]) -> None:
        self.scheduler = LinkScheduler(links, lambda: 0.5)
        self.devices = {d.address: d for d in devices}
        self.now = 0.0
        self.most = 0
        self._due: dict[str, tuple[float, str]] = {}  # the next events of links

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self._step()
            self.now += STEP_S

    def linked(self) -> list[str]:
        """Return the addresses that have a link which its device has proved."""
        return [t.address for t in self.scheduler.turns if t.proved_at is not None]

    def lose(self, address: str) -> None:
        """End a link as a device does that goes away."""
        self._due.pop(address, None)
        self.scheduler.ended(address, self.now)

    def _step(self) -> None:
        scheduler, now = self.scheduler, self.now
        for device in self.devices.values():
            if not device.is_away and device.address not in {t.address for t in scheduler.turns}:
                state = ServiceState(has_data=device.has_data)
                scheduler.hear(device.address, state, -60, now)
        for address, (due, what) in list(self._due.items()):
            if now >= due:
                del self._due[address]
                self._happen(address, what)
        for turn in scheduler.turns:
            device = self.devices[turn.address]
            if turn.proved_at is not None and turn.ending is None:
                device.served_s += STEP_S
                if device.talks:
                    scheduler.passed(turn.address, now)
        for address, reason in scheduler.to_end(now):
            assert reason in Ending
            self._due[address] = (now + CLOSE_S, "closed")
        chosen = scheduler.next_turn(now)
        if chosen is not None:
            self._due[chosen] = (now + OPEN_S, "opened")
            self.devices[chosen].turns += 1
        self.most = max(self.most, len(scheduler.turns))

    def _happen(self, address: str, what: str) -> None:
        device = self.devices[address]
        if what == "closed":
            self.scheduler.ended(address, self.now)
        elif what == "opened" and device.is_away:
            self.scheduler.failed(address, self.now)
        elif what == "opened":
            self.scheduler.opened(address, self.now)
            if device.proves:
                self._due[address] = (self.now + PROVE_S, "proved")
        elif what == "proved":
            self.scheduler.proved(address, f"dev-{address}", self.now)
            device.served_at.append(self.now)


def address_of(number: int) -> str:
    """Return an address."""
    return f"C0:00:00:00:{number // 256:02X}:{number % 256:02X}"
