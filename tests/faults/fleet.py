"""Runs the clients of a run; a seed determines their actions, and the caller carries their bytes.

Senders at QoS 1 and 2, with and without RETAIN, of both versions; stored sessions that read, read
slowly, are away for a while, change their subscriptions; clients that change their version and
their session's expiry with every connection; clients that vanish and leave a will.
"""

import random
from collections.abc import Callable, Iterable
from typing import Protocol

from broker.wire.packets import MQTT_3_1_1, MQTT_5, Publish
from tests.faults.events import FOREVER, Read, Reading, Record, read_payload
from tests.faults.peer import USUAL, Habits, Peer, Visit

AWAY = 0.6  # share of rounds
STATE_TOPICS = 4  # retained, of each sender
STATES = tuple(
    f"state/{sender}/{number}"
    for sender in ("state", "state-two")
    for number in range(STATE_TOPICS)
)
LARGE_BYTES = 6_000
EXPIRIES = (0, 0, 1, 3600, FOREVER)  # of sessions, in seconds
ALL = (("load/#", 2), ("wills/#", 2))


class Carrier(Protocol):
    """Moves the bytes of peers."""

    def dial(self, peer: Peer, visit: Visit = USUAL) -> None:
        """Connect a peer that has no connection; it is told when that ends."""

    def hang_up(self, peer: Peer, *, polite: bool) -> None:
        """End its connection, with or without DISCONNECT."""

    def flush(self, peer: Peer) -> None:
        """Send what it has to say."""

    def has_connection(self, peer: Peer) -> bool:
        """Return whether it is connected, or about to be."""


class Fleet:
    """All clients of one run."""

    def __init__(
        self, chance: random.Random, record: Record, clock: Callable[[], float], carrier: Carrier
    ) -> None:
        self._chance = chance
        self._record = record
        self._carrier = carrier
        self._clock = clock
        self.senders = [
            self._make("one", Habits()),
            self._make("one-311", Habits(MQTT_3_1_1, window=8)),
            self._make("two", Habits()),
            self._make("two-311", Habits(MQTT_3_1_1, window=8)),
            self._make("state", Habits(window=10)),
            self._make("state-two", Habits(window=4)),
        ]
        self.steady = [
            self._make("reads", Habits(filters=ALL)),
            self._make("reads-311", Habits(MQTT_3_1_1, filters=(("load/#", 1), ("wills/#", 1)))),
            self._make("slow", Habits(receive_maximum=20, lazy=True, filters=ALL)),
        ]
        self.away = [
            self._make("away", Habits(receive_maximum=9, lazy=True, filters=ALL)),
            self._make("away-311", Habits(MQTT_3_1_1, filters=(("load/+/a", 2),))),
        ]
        self.changing = [
            self._make("changing", Habits(receive_maximum=9, lazy=True, filters=ALL)),
            self._make("changing-311", Habits(MQTT_3_1_1, filters=(("load/#", 1),))),
        ]
        self.away += self.changing
        self.fickle = self._make("fickle", Habits(filters=(("load/one/a", 2),)))
        self.mortal = [
            self._make("mortal", Habits(will=("wills/mortal", 2, 1))),
            self._make("mortal-311", Habits(MQTT_3_1_1, will=("wills/mortal-311", 1, 0))),
        ]
        self.resting: set[Peer] = set()  # they have no connection and get none
        self.sent = 0

    @property
    def peers(self) -> list[Peer]:
        """All but those that rest."""
        everybody = [*self.senders, *self.steady, *self.away, self.fickle, *self.mortal]
        return [peer for peer in everybody if peer not in self.resting]

    def vanish(self) -> None:
        """Let those who leave a will be lost, and stay away."""
        self.resting.update(self.mortal)
        for peer in self.mortal:
            if self._carrier.has_connection(peer):
                self._carrier.hang_up(peer, polite=False)

    @property
    def lazy(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.habits.lazy]

    def dial(self, *, everybody: bool = False) -> None:
        """Connect who is to be there in this round."""
        for peer in self.peers:
            if peer in self.away and not everybody and self._chance.random() < AWAY:
                if self._carrier.has_connection(peer):
                    self._carrier.hang_up(peer, polite=self._chance.random() < 0.5)
            elif not self._carrier.has_connection(peer):
                self._carrier.dial(peer, self._visit(peer, everybody=everybody))

    def step(self, most: int = 4) -> None:
        """Do something at random; each sender sends up to that many messages."""
        for peer in self.senders:
            for _ in range(min(self._chance.randint(0, most), peer.room)):
                self._publish(peer)
            self._carrier.flush(peer)
        if self._chance.random() < 0.4:
            self.answer()
        if self._chance.random() < 0.1:
            self._change()
        if self._chance.random() < 0.01:
            self._come_or_go([peer for peer in self.peers if peer not in self.away])
        if self._chance.random() < 0.1:
            self._come_or_go(self.changing)

    def answer(self) -> None:
        """Let the lazy ones answer."""
        for peer in self.lazy:
            if peer.is_online:
                peer.answer()
                self._carrier.flush(peer)

    @property
    def is_settled(self) -> bool:
        """True when all clients are connected and have all answers."""
        return all(peer.is_settled for peer in self.peers)

    def reader(self, number: int) -> "Reader":
        """Return a fresh client that looks at all retained messages."""
        name = f"reader-{number}"
        peer = self._make(name, Habits(stored=False, filters=(("state/#", 1),)))
        return Reader(peer, self._record)

    def _publish(self, peer: Peer) -> None:
        chance = self._chance
        qos = 2 if "two" in peer.name else 1
        size = LARGE_BYTES if chance.random() < 0.01 else chance.randint(40, 120)
        if peer.name.startswith("state"):
            topic, retain = f"state/{peer.name}/{chance.randrange(STATE_TOPICS)}", True
            if chance.random() < 0.1:
                size = 0
        else:
            topic, retain = f"load/{peer.name}/{chance.choice('ab')}", False
        peer.publish(topic, qos, size, retain=retain)
        self.sent += 1

    def _change(self) -> None:
        peer, chance = self.fickle, self._chance
        if not peer.is_online:
            return
        topic_filter = chance.choice(("load/one/a", "load/two/b", "load/+/b"))
        if topic_filter in peer.granted:
            peer.unsubscribe(topic_filter)
        elif topic_filter not in peer.wanted:
            peer.subscribe(topic_filter, chance.choice((1, 2)))
        self._carrier.flush(peer)

    def _come_or_go(self, peers: list[Peer]) -> None:
        chance = self._chance
        peer = chance.choice(peers)
        if peer.is_online:
            self._carrier.hang_up(peer, polite=chance.random() < 0.2)
        elif not self._carrier.has_connection(peer):
            self._carrier.dial(peer, self._visit(peer))

    def _visit(self, peer: Peer, *, everybody: bool = False) -> Visit:
        chance = self._chance
        if peer in self.changing:  # another program, or a newer one, each time
            version = chance.choice((MQTT_3_1_1, MQTT_5))
            return Visit(version=version, expiry_s=chance.choice(EXPIRIES))
        if peer is self.fickle and not everybody and chance.random() < 0.1:
            return Visit(clean=True)
        return USUAL

    def _make(self, name: str, habits: Habits) -> Peer:
        return Peer(name, self._record, habits, self._clock)


class Reader:
    """Looks at all retained messages, once."""

    def __init__(self, peer: Peer, record: Record) -> None:
        self.peer = peer
        self.seen: set[str] = set()
        self.found: dict[str, tuple[str, int]] = {}
        self._record = record
        peer.on_message = self._take
        record(Reading(peer.name))

    def finish(self, topics: Iterable[str] = STATES) -> None:
        """Note what was found, and what was not."""
        for topic in topics:
            self._record(Read(self.peer.name, topic, *self.found.get(topic, ("", 0))))

    def _take(self, packet: Publish) -> None:
        self.seen.add(packet.topic)
        if packet.retain:
            self.found[packet.topic] = read_payload(packet.payload)[:2]
