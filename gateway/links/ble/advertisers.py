"""Remembers the devices that are heard and have no link, within bounds. Pure.

An address identifies nobody: it may rotate, be random, or be copied. A proof of a device at an
address decides only how soon the next one that uses this address gets a turn.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hardware.radio.hecate_service import ServiceState

HEARD_S = 30.0  # after which a device that is silent is not connected to any more
FORGET_S = 24 * 3600.0  # after which what it proved is forgotten
KNOWN_LIMIT, STRANGERS_LIMIT = 512, 64
RETRY_FIRST_S, RETRY_CAP_S = 1.0, 60.0
STRANGER_FIRST_S, STRANGER_CAP_S = 15.0, 600.0  # after a turn in which no key was proved
DOUBTS = 3
FULL_S = 1.0  # between two searches for room, which cost more than an advertisement may
NO_STATE = ServiceState()


@dataclass(slots=True)
class Advertiser:
    """One address, and what is known about the device that uses it."""

    address: str
    heard_at: float
    waits_since: float
    rssi_dbm: int = 0
    state: ServiceState = field(default=NO_STATE)
    proved: str = ""  # by the last device that proved a key at this address
    failures: int = 0  # turns in a row that failed
    not_before: float = 0.0
    has_commands: bool = False  # messages wait at the broker
    was_parked: bool = False  # its last link was ended to make room
    is_heard: bool = True  # since its last link: while it has one, it does not advertise

    @property
    def is_urgent(self) -> bool:
        """True when something waits for a link, or it had one and lost it."""
        return self.has_commands or self.state.has_data or not self.was_parked

    def is_ready(self, now: float) -> bool:
        """Return whether it can be connected to now."""
        return self.is_heard and now >= self.not_before and now - self.heard_at <= HEARD_S

    def allow(self, now: float) -> None:
        """Let it be connected to at once: what was in the way is removed."""
        self.not_before, self.failures = now, 0


class Advertisers:
    """The addresses that are known, the one heard last at the end."""

    def __init__(self) -> None:
        self._known: dict[str, Advertiser] = {}
        self._full_until = 0.0
        self.refused = 0  # advertisements of strangers for whom there was no room

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Advertiser]:
        return iter(tuple(self._known.values()))

    def get(self, address: str) -> Advertiser | None:
        """Return what is known of an address, or None."""
        return self._known.get(address)

    def hear(self, address: str, state: ServiceState, rssi_dbm: int, now: float) -> None:
        """Note an advertisement."""
        known = self._known.get(address)
        if known is None:
            if now < self._full_until or not self._make_room(now):
                self.refused += 1
                return
            known = Advertiser(address, now, now)
        elif now - max(known.heard_at, known.waits_since) > HEARD_S:
            known.waits_since = now
        known.heard_at, known.rssi_dbm, known.state = now, rssi_dbm, state
        known.is_heard = True
        self._known.pop(address, None)
        self._known[address] = known

    def prove(self, address: str, who: str) -> None:
        """Note that a device proved its key."""
        known = self._known.get(address)
        if known is not None:
            known.proved, known.failures = who, 0

    def wait(self, address: str, now: float, *, was_parked: bool) -> None:
        """Note that a link has ended, and its device waits for the next one."""
        known = self._known.get(address)
        if known is not None:
            known.waits_since, known.was_parked = now, was_parked
            known.has_commands = known.is_heard = False
            known.not_before = now

    def fail(self, address: str, now: float, jitter: float) -> None:
        """Note a turn that failed; the next one waits longer, by up to a quarter of jitter."""
        known = self._known.get(address)
        if known is None:
            return
        known.failures += 1
        first, cap = RETRY_FIRST_S, RETRY_CAP_S
        if not known.proved:
            first, cap = STRANGER_FIRST_S, STRANGER_CAP_S
        wait_s = min(first * 2.0 ** min(known.failures - 1, 16), cap)
        known.not_before = now + wait_s * (1 + jitter / 4)
        known.waits_since, known.is_heard = now, False

    def distrust(self, address: str) -> None:
        """Note that nobody proved a key at an address; some times in a row make a stranger of it.

        Once is no reason: another device may have answered at the same address.
        """
        known = self._known.get(address)
        if known is not None and known.failures >= DOUBTS:
            known.proved = ""

    def start_over(self, now: float) -> None:
        """Let nobody be heard: the adapter is another one now, or was away."""
        for known in self._known.values():
            known.waits_since, known.is_heard, known.was_parked = now, False, False
            known.failures, known.not_before = 0, 0.0

    def _make_room(self, now: float) -> bool:
        for known in tuple(self._known.values()):
            age = now - known.heard_at
            if age > FORGET_S or (age > HEARD_S and not known.proved):
                del self._known[known.address]
        strangers = [k for k in self._known.values() if not k.proved]
        if len(strangers) >= STRANGERS_LIMIT:
            worst = max(strangers, key=lambda k: k.failures)
            if not worst.failures:
                self._full_until = now + FULL_S
                return False
            del self._known[worst.address]
        if len(self._known) >= KNOWN_LIMIT:
            del self._known[next(iter(self._known))]
        return True
