"""Random histories of a broker, and what an image says, in a form that can be compared."""

import random
from typing import Any

from broker.journal import Image
from broker.journal.records import (
    Acknowledged,
    CaughtUp,
    Cleared,
    Closed,
    Completed,
    Ended,
    Entry,
    Freed,
    Opened,
    Received,
    Record,
    Released,
    Sent,
    Stored,
    Subscribed,
    Unsubscribed,
    WillDelayed,
    WillEnded,
    WillHeld,
)
from broker.packets import Subscription


def describe(image: Image) -> dict[str, Any]:
    """Return what a caller can see; bodies must be there."""
    bodies = image.bodies
    assert bodies is not None

    def body(message_id: int) -> tuple[Any, ...]:
        each = bodies[message_id]
        return (each.topic, each.payload, each.properties, each.qos, each.sender, each.expires_at)

    def entry(message_id: int, session_id: int) -> Entry:
        return next(e for e in bodies[message_id].entries if e.session_id == session_id)

    sessions = {
        s.client_id: (
            s.session_id, s.owner, s.groups, s.version, s.expiry_s, s.expires_at,
            dict(sorted(s.subscriptions.items())),
            sorted(s.catching_up),
            [(m, p, body(m), entry(m, s.session_id)) for m, p in sorted(s.queue.items())],
            set(s.received), set(s.released),
            (body(s.will[0]), s.will[1]) if s.will else None,
        )
        for s in image.sessions.values()
    }  # fmt: skip
    return {
        "sessions": sessions,
        "retained": {topic: (mid, body(mid)) for topic, mid in image.retained.items()},
    }


class History:
    """Makes groups of records as a broker would, within small bounds so that things collide."""

    def __init__(self, seed: int, *, sessions: int = 4, topics: int = 5, size: int = 60) -> None:
        self.chance = random.Random(seed)
        self.image = Image()
        self.image.settle()  # from the start on, as in a running broker
        self._sessions, self._topics, self._size = sessions, topics, size
        self._next_session = self._next_message = 1

    def group(self) -> tuple[list[Record], bool]:
        """Return the next records, and whether their caller waits for them."""
        while True:
            records, waits = self._choose()
            if records:
                for record in records:
                    self.image.apply(record, 1)
                return records, waits

    def _choose(self) -> tuple[list[Record], bool]:
        chance = self.chance
        live = list(self.image.sessions.values())
        if len(live) < 2 or chance.random() < 0.04:
            return [self._open()], True
        session = chance.choice(live)
        number = session.session_id
        kind = chance.random()
        if kind < 0.45:
            return [self._store(live)], True
        if kind < 0.75 and session.queue:
            taken = list(session.queue)[: chance.randint(1, 4)]
            return [Acknowledged(number, tuple(taken))], False
        if kind < 0.82 and session.queue:
            pairs = tuple((mid, chance.randint(1, 65535)) for mid in list(session.queue)[:3])
            return [Sent(number, pairs)], False
        return self._seldom(number, live)

    def _seldom(self, number: int, live: list[Any]) -> tuple[list[Record], bool]:
        chance = self.chance
        topic = f"t/{chance.randrange(self._topics)}"
        packet_id = chance.randint(1, 9)
        will, message = self._message(()), self._store(live)
        first = next(iter(self.image.sessions[number].queue), 0)
        choices: list[tuple[list[Record], bool]] = [
            ([Closed(number, chance.random() * 1e9)], False),
            ([Ended(number)] if len(live) > 2 else [], False),
            ([Subscribed(number, Subscription(topic, 1, retain_handling=1))], True),
            ([Subscribed(number, Subscription(topic, 1), True)], True),
            ([CaughtUp(number, topic)], False),
            ([Unsubscribed(number, topic)], False),
            ([Cleared(topic)], False),
            ([Received(number, packet_id), message], True),
            ([Freed(number, packet_id)], True),
            ([Released(number, first, packet_id)], True),
            ([WillDelayed(number, will.message_id, 5.0), will], True),
            ([WillHeld(number, will.message_id, 3.0), will], True),
            ([WillEnded(number)], False),
            ([Completed(number, packet_id)], False),
        ]
        return chance.choice(choices)

    def _open(self) -> Record:
        client = f"c{self.chance.randrange(self._sessions)}"
        for session in self.image.sessions.values():
            if session.client_id == client:
                return Opened(session.session_id, client, "owner", ("g",), 5, 60.0)
        self._next_session += 1
        return Opened(self._next_session, client, "owner", (), 4, 1e9)

    def _store(self, live: list[Any]) -> Stored:
        chance = self.chance
        receivers = chance.sample(live, chance.randint(1, min(3, len(live))))
        return self._message(
            tuple(Entry(each.session_id, 1, chance.random() < 0.2, (7,)) for each in receivers)
        )

    def _message(self, entries: tuple[Entry, ...]) -> Stored:
        chance = self.chance
        self._next_message += 1
        payload = chance.randbytes(chance.randint(0, self._size))
        if chance.random() < 0.2:
            payload += bytes(chance.randint(1, 200))
        return Stored(
            self._next_message, f"t/{chance.randrange(self._topics)}", payload, b"", 1, "me",
            0.0, bool(entries) and chance.random() < 0.3, entries,
        )  # fmt: skip
