"""Decides which Bluetooth LE devices have a link when. Pure.

An adapter carries few links, so devices take turns. The rules:

1. While a link is free, every device that is heard gets one, one opening at a time.
2. When none is free and a device waits, the longest turn that is over ends. A turn is over after
   TURN_S; already after SHORT_TURN_S if it is idle, when something waits to be sent or received.
3. Of those that wait, the one that waited longest is next; where something waits to be sent or
   received, URGENT_S is added. So everybody's turn comes.
4. A device that proves no key within PROOF_S loses its link, and waits long for its next turn.
   An address at which nobody has proved a key yet comes first. But each of them that proves none
   makes the others wait, and while devices wait that have proved theirs, strangers then get at most
   every STRANGER_EACH-th turn or one in STRANGER_S, and a third of the links, until one of them
   proves a key. So addresses without end starve nobody who has joined.

An opening that never ends, or a link that the caller keeps, holds its slot: opened(), failed() and
ended() have to be called.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from gateway.links.ble.advertisers import Advertiser, Advertisers
from hardware.radio.hecate_service import ServiceState

TURN_S = 10.0  # with devices waiting that have something to send or receive
RELAXED_TURN_S = 20.0  # with others waiting
SHORT_TURN_S, IDLE_S = 3.0, 1.5
PROOF_S = 8.0
URGENT_S = 60.0
MISSED_S = (8.0, 20.0)  # after the end of its link
STRANGER_EACH, STRANGER_S = 4, 60.0


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """The lengths of turns."""

    turn_s: float = TURN_S
    relaxed_turn_s: float = RELAXED_TURN_S
    short_turn_s: float = SHORT_TURN_S


DEFAULT_TIMES = TurnTimes()


class Ending(Enum):
    """The reasons for which a link is ended."""

    PARKED = "another device waits"
    UNPROVED = "it proved no key"


@dataclass(slots=True)
class Turn:
    """One device's link, from the moment its opening begins."""

    address: str
    began_at: float
    is_open: bool = False
    proved_at: float | None = None
    who: str = ""
    active_at: float = 0.0
    ending: Ending | None = None

    def is_over(self, now: float, times: TurnTimes, *, for_urgent: bool) -> bool:
        """Return whether the turn may end in favour of another."""
        if self.proved_at is None or self.ending is not None:
            return False
        age_s = now - self.proved_at
        if not for_urgent:
            return age_s >= times.relaxed_turn_s
        is_idle = now - self.active_at >= IDLE_S
        return age_s >= times.turn_s or (is_idle and age_s >= times.short_turn_s)


@dataclass(slots=True)
class TurnCounters:
    """The counters of turns since the start."""

    turns: int = 0
    failed: int = 0
    unproved: int = 0
    parked: int = 0
    lost: int = 0


class LinkScheduler:
    """The links that stand, and the devices that wait for one."""

    def __init__(
        self, links: int, jitter: Callable[[], float], times: TurnTimes = DEFAULT_TIMES
    ) -> None:
        self.limit, self._jitter, self._times = links, jitter, times
        self._turns: dict[str, Turn] = {}
        self._since_stranger = 0  # turns of others since the last one of a stranger
        self._stranger_at = 0.0
        self._doubts = 0  # strangers that proved nothing, since the last one that did
        self.advertisers = Advertisers()
        self.counters = TurnCounters()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns that run."""
        return tuple(self._turns.values())

    def hear(self, address: str, state: ServiceState, rssi_dbm: int, now: float) -> None:
        """Note an advertisement of a Hecate device."""
        self.advertisers.hear(address, state, rssi_dbm, now)

    def waiting(self, now: float) -> list[Advertiser]:
        """Return the devices that could be connected to now, the next one first."""
        ready = [a for a in self.advertisers if a.is_ready(now) and a.address not in self._turns]
        return sorted(ready, key=lambda a: _rank(a, now), reverse=True)

    def next_turn(self, now: float) -> str | None:
        """Begin a turn and return the address to open a link to; None for nobody now."""
        if len(self._turns) >= self.limit or not all(t.is_open for t in self._turns.values()):
            return None
        waiting = self.waiting(now)
        known = [a for a in waiting if a.proved]
        strangers = [a for a in waiting if not a.proved]
        if strangers and (not known or self._may_try_stranger(now)):
            chosen = min(strangers, key=lambda a: (a.failures, a.waits_since))
            self._since_stranger, self._stranger_at = 0, now
        elif known:
            chosen = known[0]
            self._since_stranger += 1
        else:
            return None
        self._turns[chosen.address] = Turn(chosen.address, now)
        self.counters.turns += 1
        return chosen.address

    def to_end(self, now: float) -> list[tuple[str, Ending]]:
        """Return the links to end now, each once, with the reason."""
        ended = []
        for turn in self._turns.values():
            is_late = turn.is_open and turn.proved_at is None and now - turn.active_at >= PROOF_S
            if is_late and turn.ending is None:
                turn.ending = Ending.UNPROVED
                ended.append((turn.address, Ending.UNPROVED))
        parked = self._find_parked(now)
        if parked is not None:
            parked.ending = Ending.PARKED
            ended.append((parked.address, Ending.PARKED))
        return ended

    def opened(self, address: str, now: float) -> None:
        """Note that the link stands; the device has to prove its key now."""
        turn = self._turns[address]
        turn.is_open, turn.active_at = True, now

    def proved(self, address: str, who: str, now: float) -> None:
        """Note that the device at the other end proved its key."""
        turn = self._turns.get(address)
        if turn is None or not turn.is_open:
            return
        if turn.proved_at is None:
            turn.proved_at = turn.active_at = now
        turn.who = who
        known = self.advertisers.get(address)
        if known is None or not known.proved:
            self._doubts = 0
        self.advertisers.prove(address, who)

    def passed(self, address: str, now: float) -> None:
        """Note that bytes passed over a link."""
        turn = self._turns.get(address)
        if turn is not None and turn.proved_at is not None:
            turn.active_at = now

    def failed(self, address: str, now: float) -> None:
        """Note that the link could not be opened."""
        self._turns.pop(address)
        self.counters.failed += 1
        known = self.advertisers.get(address)
        self._doubts += known is not None and not known.proved
        self.advertisers.fail(address, now, self._jitter())

    def postponed(self, address: str, now: float, wait_s: float) -> None:
        """Note that the link could not be opened yet, through no fault of the device."""
        self._turns.pop(address)
        self.advertisers.wait(address, now, was_parked=False)
        known = self.advertisers.get(address)
        if known is not None:
            known.not_before = now + wait_s

    def ended(self, address: str, now: float) -> None:
        """Note that the link has ended."""
        turn = self._turns.pop(address)
        if turn.proved_at is None:
            self.counters.unproved += 1
            self._doubts += 1
            self.advertisers.fail(address, now, self._jitter())
            self.advertisers.distrust(address)
        elif turn.ending is Ending.PARKED:
            self.counters.parked += 1
            self.advertisers.wait(address, now, was_parked=True)
        else:
            self.counters.lost += 1
            self.advertisers.wait(address, now, was_parked=False)

    def note_commands(self, devices: frozenset[str]) -> None:
        """Note the devices for which messages wait at the broker."""
        for advertiser in self.advertisers:
            advertiser.has_commands = bool(advertiser.proved) and advertiser.proved in devices

    def misses_parked(self, now: float) -> bool:
        """Return whether a device does not advertise again whose link was closed a while ago.

        Its link may still stand in the adapter.
        """
        first, last = MISSED_S
        return any(
            a.was_parked and not a.is_heard and first <= now - a.waits_since <= last
            for a in self.advertisers
            if a.address not in self._turns
        )

    def start_over(self, now: float) -> None:
        """Note that the adapter is another one now: nobody is heard."""
        self.advertisers.start_over(now)

    def _may_try_stranger(self, now: float) -> bool:
        unproved = sum(turn.proved_at is None for turn in self._turns.values())
        wait = min(self._doubts, STRANGER_EACH - 1)  # turns of others
        room = max(self.limit // 3, 1) if wait else self.limit
        is_due = self._since_stranger >= wait or now - self._stranger_at >= STRANGER_S
        return unproved < room and is_due

    def _find_parked(self, now: float) -> Turn | None:
        turns = self._turns.values()
        if len(turns) < self.limit or any(not t.is_open or t.ending is not None for t in turns):
            return None  # there is room, or there will be
        waiting = self.waiting(now)
        known = [a for a in waiting if a.proved]
        if known and not self._may_try_stranger(now):
            waiting = known
        if not waiting:
            return None
        is_urgent = any(a.is_urgent for a in waiting)
        over = [t for t in turns if t.is_over(now, self._times, for_urgent=is_urgent)]
        return min(over, key=lambda t: (t.proved_at or 0.0, t.address), default=None)


def _rank(advertiser: Advertiser, now: float) -> float:
    return now - advertiser.waits_since + (URGENT_S if advertiser.is_urgent else 0.0)
