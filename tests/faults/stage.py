"""Holds the parts of every kind of run: a fleet, the broker's address, the history, its checker."""

import asyncio
import random
import time

from tests.faults.checker import Checker
from tests.faults.events import Event, Got, History, Killed, Lost, Started
from tests.faults.fleet import Fleet
from tests.faults.receiver import Finding
from tests.faults.sockets import Address, Sockets
from tests.programs import PATIENCE

DRAIN_S = 30.0 * PATIENCE
QUIET_S = 0.3  # without a message, before looking whether all is there
PATIENCE_S = 5.0 * PATIENCE  # before believing that nothing more will come
END_S = 3.0 * PATIENCE


class Stage:
    """The surroundings of a run: history, checker, sockets.

    past is what the clients lived through before, until
    the broker was killed at that time.
    """

    def __init__(
        self, chance: random.Random, past: History | None = None, killed_at: float = 0.0
    ) -> None:
        self.history: History = []
        self.patience_s = PATIENCE_S
        self.checker = Checker()
        self.sockets = Sockets()
        self.fleet = Fleet(chance, self.record, time.monotonic, self.sockets)
        self._last_got = 0.0
        self._readers = 0
        self._end = 0.0  # messages due until then must have come
        if past is not None:
            self._live_again(past, killed_at)

    def record(self, event: Event) -> None:
        """Note what happens."""
        self.history.append(event)
        self.checker.feed(event)
        if type(event) is Got:
            self._last_got = time.monotonic()

    def started(self, address: Address) -> None:
        """The broker is there."""
        self.sockets.addresses[""] = address
        self.record(Started(time.monotonic()))

    def killed(self) -> None:
        """The broker is being killed."""
        self.record(Killed(time.monotonic()))

    @property
    def backlog(self) -> int:
        """The number of messages that wait for the slowest client."""
        return self.checker.backlog(("slow", "away"), "load")

    async def silence(self) -> None:
        """Return when all connections have ended."""
        deadline = time.monotonic() + END_S
        while not self.sockets.is_silent:
            assert time.monotonic() < deadline, "a killed broker's connections end"
            await asyncio.sleep(0.002)

    async def read(self) -> None:
        """Look at all retained messages as somebody new; note nothing when cut off."""
        self._readers += 1
        reader = self.fleet.reader(self._readers)
        self.sockets.dial(reader.peer)
        deadline = time.monotonic() + self.patience_s
        expected = self.checker.retained_topics()
        while time.monotonic() < deadline and not (
            expected <= reader.seen and reader.peer.is_settled
        ):
            await asyncio.sleep(0.003)
            if not self.sockets.has_connection(reader.peer):
                return
        reader.finish()
        self.sockets.hang_up(reader.peer, polite=True)

    async def drain(self, quiet_s: float = QUIET_S) -> None:
        """Let everybody have everything; end when that is so, or nothing has come for long."""
        deadline = time.monotonic() + DRAIN_S
        self._last_got = time.monotonic()
        while time.monotonic() < deadline:
            self.fleet.answer()
            self.fleet.dial(everybody=True)
            await asyncio.sleep(0.005)
            waited_s = time.monotonic() - self._last_got
            if self.fleet.is_settled and waited_s > quiet_s and self._is_done(waited_s):
                break
        await self.read()

    async def wait(self, seconds: float) -> None:
        """Let time pass, for what is due later."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.fleet.answer()
            await asyncio.sleep(0.02)

    def findings(self) -> list[Finding]:
        """Return what was broken until the drain has ended."""
        return self.checker.findings(end=self._end)

    @property
    def due_wills(self) -> int:
        """The number of wills that had to come."""
        return self.checker.due_wills(self._end)

    def _is_done(self, waited_s: float) -> bool:
        self._end = time.monotonic()
        if waited_s > self.patience_s:
            return True
        missing = next(self.checker.undelivered(), None)
        return missing is None and not self.checker.missing_wills(self._end)

    def _live_again(self, past: History, killed_at: float) -> None:
        """Make clients and checker what they were, then let all connections end."""
        peers = {peer.name: peer for peer in self.fleet.peers}
        for event in past:
            peer = peers.get(getattr(event, "client", ""))
            if peer is not None:
                peer.apply(event)
            self.history.append(event)
            self.checker.feed(event)
        self.record(Killed(killed_at))
        for peer in peers.values():
            if peer.has_dialed:
                self.record(Lost(peer.name, peer.epoch, False, killed_at))
                peer.apply(self.history[-1])
