"""Fills queues of clients that are away, over reloads, expiry and restarts.

Each queue has a sender, a keeper (a stored session that is away while it fills) and a topic. A
turn of a queue is filled with large messages, either such that must arrive, or such that expire
soon and are more than the queue holds; behind those, once they have expired, come some that must
arrive. Then the keeper comes for them. How much may wait is bounded as the broker's limits say, so
that nothing that must arrive is dropped for want of room.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from broker.wire.packets import MQTT_3_1_1, MQTT_5, Publish
from tests.faults.events import FOREVER, Got, Taken
from tests.faults.peer import Habits, Peer, Visit
from tests.faults.receiver import Finding
from tests.faults.stage import Stage
from tests.faults.subjects import HecateWithRights
from tests.programs import PATIENCE

QUEUE_BYTES, ALL_BYTES = 1_000_000, 2_000_000  # limits of the broker
FILLED = 0.9  # of the limits: what was sent again after a kill may wait twice
MESSAGE_BYTES = 10_000
COST_BYTES = 10_300  # with what the broker counts besides the payload
EXPIRY_S = 1
EXPIRING = 130  # more than fit
BEHIND = 20  # messages behind the expired ones; they must arrive
QUEUES = 3
LIFE_S = (0.4, 1.5)  # of a round
STEP_S = 0.004
REST_S = (0.3, 2.5)
REPEATED_S = 0.5 * PATIENCE  # without a message, after which nothing comes once more


@dataclass(frozen=True, slots=True)
class Shares:
    """The probability of each event."""

    kills: float = 0.3  # of rounds
    reloads: float = 0.7  # of rounds
    expiring: float = 0.5  # of turns


USUAL = Shares()


def make_subject(folder: Path, durability: str = "synced") -> HecateWithRights:
    """Return a broker with the limits that this module counts with."""
    return HecateWithRights(
        folder, durability, queued_bytes=QUEUE_BYTES, queued_bytes_total=ALL_BYTES
    )


class Queue:
    """One sender, one keeper, and what waits between them."""

    def __init__(self, number: int, run: "QueueRun", shares: Shares, filling: "set[Queue]") -> None:
        self._expiring = shares.expiring
        self._filling = filling  # of all queues at most one, so that they become unequal
        self._stage = run.stage
        self._chance = run.chance
        self._topic = f"queue/{number}/a"
        self.sender = self._make(f"fills-{number}", Habits(window=3))
        version = MQTT_3_1_1 if number % 2 else MQTT_5
        filters = ((f"queue/{number}/#", 1 + number % 2),)
        self.keeper = self._make(f"keeps-{number}", Habits(version, filters=filters))
        self.is_away = False
        self.promised = self.expiring = 0  # messages sent since the keeper was there
        self._received = 0  # by the keeper, when it was there last
        self._is_repeated = False  # the keeper gets once more what it had before a kill
        self._receipts = 0
        self.keeper.on_message = self._count
        self._room_bytes = 0.0
        self._turn = self._take_turns()

    @property
    def held_bytes(self) -> float:
        """The most bytes that can wait for the keeper."""
        return min(QUEUE_BYTES, COST_BYTES * (self.promised + self.expiring))

    def killed(self) -> None:
        """Count the messages received last as waiting: the broker may have lost their answers."""
        self.promised += self._received
        self._received, self._is_repeated = 0, True

    def step(self, room_bytes: float) -> None:
        """Go on; the other queues leave so much room."""
        self._room_bytes = room_bytes
        next(self._turn)

    def _take_turns(self) -> Iterator[None]:
        keeper, chance = self.keeper, self._chance
        while not (keeper.is_online and keeper.granted):
            yield
        while True:
            self.is_away = True
            if self._stage.sockets.has_connection(keeper):
                self._stage.sockets.hang_up(keeper, polite=chance.random() < 0.5)
            while self._filling:
                yield
            self._filling.add(self)
            if chance.random() >= self._expiring:
                yield from self._fill(chance.choice((30, 60, 90, 90)))
            else:
                yield from self._fill_with_expiring()
            self._filling.discard(self)
            yield from self._rest(chance.uniform(*REST_S))
            self.is_away = False
            while self._owed():
                yield
            while self._is_repeated:
                yield from self._wait_for_repeated()
            self._received = self.promised
            self.promised = self.expiring = 0

    def _fill(self, count: int) -> Iterator[None]:
        """Send what must arrive, unless there is no room."""
        for _ in range(count):
            while self.sender.room < 1:
                yield
            held = COST_BYTES * (self.promised + 1)
            # the broker lets nobody hold more than it leaves to all others
            if held > FILLED * QUEUE_BYTES or 2 * held > self._room_bytes:
                break
            self._publish()
            yield
        while self.sender.unanswered or not self.sender.is_online:
            yield

    def _fill_with_expiring(self) -> Iterator[None]:
        """Send more than there is room for, then wait for the expiry of the last one."""
        for _ in range(EXPIRING):
            while self.sender.room < 1:
                yield
            self._publish(EXPIRY_S)
            yield
        while self.sender.unanswered or not self.sender.is_online:
            yield
        yield from self._rest(EXPIRY_S + 1.5)
        yield from self._fill(BEHIND)

    def _rest(self, seconds: float) -> Iterator[None]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield

    def _wait_for_repeated(self) -> Iterator[None]:
        receipts, was_online = self._receipts, self.keeper.is_online
        yield from self._rest(REPEATED_S)
        if was_online and self.keeper.is_online and receipts == self._receipts:
            self._is_repeated = False

    def _count(self, _: Publish) -> None:
        self._receipts += 1

    def _publish(self, expiry_s: float = FOREVER) -> None:
        qos = self._chance.choice((1, 2))
        self.sender.publish(self._topic, qos, MESSAGE_BYTES, expiry_s=expiry_s)
        if expiry_s == FOREVER:
            self.promised += 1
        else:
            self.expiring += 1
        self._stage.sockets.flush(self.sender)

    def _owed(self) -> bool:
        name = self.keeper.name
        return any(who == name for who, _ in self._stage.checker.undelivered())

    def _make(self, name: str, habits: Habits) -> Peer:
        return Peer(name, self._stage.record, habits, time.monotonic)


class QueueRun:
    """One run."""

    def __init__(self, subject: HecateWithRights, seed: int, shares: Shares = USUAL) -> None:
        self._subject = subject
        self._shares = shares
        self.chance = random.Random(seed)
        self.stage = Stage(self.chance)
        filling: set[Queue] = set()
        self.queues = [Queue(number, self, shares, filling) for number in range(QUEUES)]
        self.reloads = self.kills = 0

    async def go(self, rounds: int) -> list[Finding]:
        """Run the rounds; let everybody have what is theirs; return what was broken."""
        chance, stage = self.chance, self.stage
        try:
            await self._start()
            for _ in range(rounds):
                await self._live(chance.uniform(*LIFE_S))
                if chance.random() < self._shares.reloads:
                    self._subject.reload()
                    self.reloads += 1
                if chance.random() < self._shares.kills:
                    await self._kill()
                    await self._start()
            await self._live(LIFE_S[0])
            await self._drain()
        finally:
            stage.sockets.end_all()
            await asyncio.to_thread(self._subject.stop)
        return stage.findings()

    @property
    def numbers(self) -> str:
        """The numbers of messages, in words."""
        history = self.stage.history
        taken = sum(type(event) is Taken for event in history)
        got = sum(type(event) is Got for event in history)
        return f"{taken} messages acknowledged, {got} received"

    async def _start(self) -> None:
        self.stage.started(await asyncio.to_thread(self._subject.start))

    async def _kill(self) -> None:
        self.kills += 1
        self.stage.killed()
        for queue in self.queues:
            queue.killed()
        await asyncio.to_thread(self._subject.kill)
        await self.stage.silence()

    async def _live(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._dial()
            for queue in self.queues:
                others = sum(each.held_bytes for each in self.queues if each is not queue)
                queue.step(FILLED * ALL_BYTES - others)
            await asyncio.sleep(STEP_S)

    def _dial(self, *, everybody: bool = False) -> None:
        sockets = self.stage.sockets
        for queue in self.queues:
            for peer in (queue.sender, queue.keeper):
                is_away = peer is queue.keeper and queue.is_away and not everybody
                if not is_away and not sockets.has_connection(peer):
                    sockets.dial(peer, Visit())

    async def _drain(self) -> None:
        deadline = time.monotonic() + self.stage.patience_s
        while time.monotonic() < deadline:
            self._dial(everybody=True)
            if not any(self.stage.checker.undelivered()):
                return
            await asyncio.sleep(STEP_S)
