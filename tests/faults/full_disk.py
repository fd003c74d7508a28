"""Fills a disk: senders are refused, nothing acknowledged is lost, and the broker recovers.

Sessions that are away are sent more than the disk can hold. When the first message is refused the
broker is killed, started on the full disk, and some of them come for what is theirs.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Protocol

from broker.wire.packets import MQTT_3_1_1
from tests.aio import until
from tests.faults.events import Taken
from tests.faults.fleet import Reader
from tests.faults.peer import Habits, Peer
from tests.faults.receiver import Finding
from tests.faults.sockets import Address
from tests.faults.stage import Stage

KEEPERS = 8
PAYLOAD_BYTES = 6_000
WAIT_S = 30.0


class Ground(Protocol):
    """A broker on a small disk."""

    async def start(self) -> Address:
        """Start it; return where it listens."""

    async def kill(self) -> None:
        """End it without warning."""


@dataclass(slots=True)
class Outcome:
    """The results of a run."""

    accepted: int = 0
    refused: int = 0
    accepted_later: int = 0
    reasons: set[int] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)


class Filling:
    """One run."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        stage = self._stage = Stage(random.Random(0))
        self._sender = self._make("filler", Habits(window=10))
        self._old_sender = self._make("filler-311", Habits(MQTT_3_1_1, window=1))
        self._keepers = [
            self._make(f"keeper-{number}", Habits(filters=((f"fill/{number}", 2),)))
            for number in range(KEEPERS)
        ]
        self._checker, self._sockets = stage.checker, stage.sockets
        self._sent = 0

    async def go(self, most: int) -> Outcome:
        """Fill until refused, at most so many messages; recover; return what was seen."""
        outcome = Outcome()
        self._stage.started(await self._ground.start())
        await self._dial(*self._keepers, self._sender, self._old_sender)
        for keeper in self._keepers:
            self._sockets.hang_up(keeper, polite=True)
        await self._fill(most)
        await self._check_old_sender()
        outcome.reasons = set(self._sender.refusals)
        outcome.accepted = self._count(refused=False)
        self._stage.killed()
        await self._ground.kill()
        await self._stage.silence()
        self._stage.started(await self._ground.start())
        await self._dial(*self._keepers[::2], self._sender)
        await until(lambda: not self._missing(self._keepers[::2]), "half have theirs")
        await self._publish_again()
        await self._dial(*self._keepers[1::2])
        await until(lambda: not self._missing(self._keepers), "all have theirs")
        await self._read()
        outcome.refused = self._count(refused=True)
        outcome.accepted_later = self._count(refused=False) - outcome.accepted
        outcome.findings = self._stage.findings()
        self._sockets.end_all()
        return outcome

    async def _fill(self, most: int) -> None:
        sender = self._sender
        while not sender.refusals and self._sent < most:
            while sender.room > 0:
                self._publish()
            self._sockets.flush(sender)
            await asyncio.sleep(0.001)
        await until(lambda: not sender.unanswered, "all are answered")

    def _publish(self) -> None:
        self._sent += 1
        topic = f"fill/{self._sent % KEEPERS}"
        if self._sent % 5 == 0:
            topic = f"state/{self._sent % 40}"
        self._sender.publish(topic, 1 + self._sent % 2, PAYLOAD_BYTES, retain=topic[0] == "s")

    async def _check_old_sender(self) -> None:
        """MQTT 3.1.1 knows no refusal: the connection ends, without an answer."""
        sender = self._old_sender
        sender.publish("fill/0", 1, PAYLOAD_BYTES)
        self._sockets.flush(sender)
        await until(lambda: not self._sockets.has_connection(sender), "it is cut")
        assert sender.unanswered, "what cannot be stored is not acknowledged"

    async def _publish_again(self) -> None:
        """Try until one is accepted again."""
        sender, before = self._sender, self._count(refused=False)
        deadline = time.monotonic() + WAIT_S
        while self._count(refused=False) < before + KEEPERS:
            assert time.monotonic() < deadline, "it works again when there is room"
            if sender.room == sender.habits.window:
                self._publish()
                self._sockets.flush(sender)
            if not self._sockets.has_connection(self._old_sender):
                self._sockets.dial(self._old_sender)
            await asyncio.sleep(0.005)
        await until(lambda: not self._old_sender.unanswered, "the other one is answered")

    async def _read(self) -> None:
        peer = self._make("reader", Habits(stored=False, filters=(("state/#", 1),)))
        reader = Reader(peer, self._stage.record)
        await self._dial(peer)
        expected = self._checker.retained_topics()
        await until(lambda: expected <= reader.seen, "all retained messages are there")
        reader.finish(expected)

    def _missing(self, keepers: list[Peer]) -> bool:
        names = {peer.name for peer in keepers}
        return any(name in names for name, _ in self._checker.undelivered())

    def _count(self, *, refused: bool) -> int:
        return sum(
            type(event) is Taken and event.refused == refused for event in self._stage.history
        )

    async def _dial(self, *peers: Peer) -> None:
        for peer in peers:
            if not self._sockets.has_connection(peer):
                self._sockets.dial(peer)
        await until(
            lambda: all(peer.is_online and set(peer.wanted) == set(peer.granted) for peer in peers),
            "clients are in",
        )

    def _make(self, name: str, habits: Habits) -> Peer:
        return Peer(name, self._stage.record, habits, time.monotonic)
