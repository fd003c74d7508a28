"""Records the changes of sessions in a store, so that they survive a crash.

Theory of operation
-------------------
A session that is kept after its connection has a recorder (SessionPersistence), if the broker has a
store; every other session has None there, which costs nothing. Rules:

1. An answer (CONNACK, SUBACK, UNSUBACK, PUBACK, PUBREC, PUBREL, PUBCOMP) is sent when the records
   that it promises are safe; the will of a client is among them, also without a kept session.
2. A QoS 2 message is sent once it is safe that it was sent, and under which packet id: else, after
   a crash, the id might be given to another message, which the receiver would take for this one.
   A QoS 1 message is sent at once: it may come twice.
3. Stored precedes every other record about its message; Sent, collected while a message is
   delivered, follows right behind it.
4. Acknowledged precedes the Sent that uses a packet id again: else, after a crash, two messages
   might have the same id.
5. Records of fastpath/durable.py and of acknowledgements are collected during one loop iteration,
   for all clients. flush() writes them, in the order of these rules; core.py calls it before
   anything is sent, and append() before it adds any other record.
6. A record that adds to the store may be refused; one that changes or removes must be kept.
7. A ClockRead precedes everything with an end (a message that expires, a session whose client has
   gone), so that a clock that is set back cannot lengthen its life.

The broker uses the clock of the loop, records that of the store (store_clock.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broker.journal.records import (
    Acknowledged,
    CaughtUp,
    Completed,
    Ended,
    Freed,
    MessagesSent,
    Opened,
    Publisher,
    QueueEntry,
    Released,
    SentSeries,
    SessionClosed,
    Stored,
    Subscribed,
    Unsubscribed,
    WillDelayed,
    WillEnded,
    WillHeld,
)
from broker.sessions.store_clock import StoreClock
from broker.wire import encode_message_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from broker.journal.records import Record, Series
    from broker.messages.delivery import Delivery
    from broker.messages.message import Message
    from broker.policy import Identity
    from broker.sessions.outbound import Outbound
    from broker.sessions.store_clock import RecordSink
    from broker.wire.packets import Subscription

    Done = Callable[[bool], None]


NO_MESSAGE = 1 << 64  # ids are below
MUCH_BYTES = 65_536  # collected; then the collector calls flush()


class HeldWill(NamedTuple):
    """The will of a CONNECT."""

    message: Message  # its properties have the expiry interval
    delay_s: float


class Persistence:
    """Collects and appends the records of all sessions; without a store it does nothing."""

    __slots__ = (
        "_acknowledged", "_collected_from", "_dropped",
        "_next_message", "_next_session", "_runs", "_sends", "_sent", "_store",
        "clock", "collected_bytes", "touch",
    )  # fmt: skip

    def __init__(
        self, store: RecordSink | None = None, touch: Callable[[Outbound], None] = lambda _: None
    ) -> None:
        self.touch = touch  # asks for a write that no read causes
        self.clock = StoreClock(store)
        self._store = store
        self._next_session = self._next_message = 1
        self._sent: dict[int, list[tuple[int, int]]] = {}  # by session, not appended yet
        self._sends: list[Done] = []  # calls that wait for these
        # collected, not appended yet
        self._runs: list[tuple[list[Series], Done]] = []
        self._collected_from = NO_MESSAGE  # the first message of these
        self.collected_bytes = 0
        self._acknowledged: dict[int, list[int]] = {}  # by session
        self._dropped: dict[int, list[int]] = {}  # of the runs

    @property
    def is_on(self) -> bool:
        """True when there is a store."""
        return self._store is not None

    @property
    def is_behind(self) -> bool:
        """True when senders of messages for the store should wait."""
        return self._store is not None and self._store.is_behind

    @property
    def has_collected(self) -> bool:
        """True when flush() has records to append."""
        return bool(self._runs or self._acknowledged or self._dropped or self._sent)

    def go_on_from(self, next_session: int, next_message: int) -> None:
        """Begin with these numbers, which the store does not know."""
        self._next_session, self._next_message = next_session, next_message

    def open_recorder(self, number: int = 0) -> SessionPersistence | None:
        """Return the recorder of a new session, or of a number; None without a store."""
        if self._store is None:
            return None
        if not number:
            number = self._next_session
            self._next_session += 1
        return SessionPersistence(self, number)

    def take_message_ids(self, count: int = 1) -> int:
        """Reserve message ids; return the first."""
        first = self._next_message
        self._next_message += count
        return first

    def append(
        self, records: Sequence[Record | Series], done: Done | None = None, *, must: bool = False
    ) -> None:
        """Append records, after those that were collected."""
        if self._store is not None:
            self.flush()
            self._store.append(records, done, must=must)

    def append_message(
        self, records: list[Record | Series], done: Done, *, must: bool = False
    ) -> None:
        """Append a message, and the sessions it was sent to."""
        sends = self._take_sent(records)
        if sends:
            sends.insert(0, done)
            done = _Together(sends)
        self.append(records, done, must=must)

    def collect_run(self, records: list[Series], first_id: int, size: int, done: Done) -> None:
        """Collect the records of new messages, whose ids follow first_id."""
        self.collected_bytes += size
        self._runs.append((records, done))
        self._collected_from = min(self._collected_from, first_id)

    def sent(self, session: int, message_id: int, packet_id: int, send: Done | None) -> None:
        """Collect that a message is in flight; send is called once that is safe."""
        self._sent.setdefault(session, []).append((message_id, packet_id))
        if send is not None:
            self._sends.append(send)

    def sent_series(self, session: int, first_id: int, packet_ids: Sequence[bytes]) -> None:
        """Collect that messages of the last run are in flight."""
        self._runs[-1][0].append(SentSeries(session, first_id, packet_ids))

    def acknowledged(self, session: int, message_ids: Sequence[int]) -> None:
        """Collect that a session has messages acknowledged; their packet ids are free."""
        if max(message_ids) >= self._collected_from:  # their Stored must precede
            self.flush()
        self._acknowledged.setdefault(session, []).extend(message_ids)

    def dropped(self, session: int, message_ids: Sequence[int]) -> None:
        """Collect that a session drops messages that never were in flight."""
        is_new = max(message_ids) >= self._collected_from
        gone = self._dropped if is_new else self._acknowledged
        gone.setdefault(session, []).extend(message_ids)

    def flush(self) -> None:
        """Append the collected records."""
        store = self._store
        if store is None:
            return
        if self._acknowledged:  # rule 4
            gone, self._acknowledged = self._acknowledged, {}
            store.append(_describe_gone(gone))
        if self._runs:
            runs, self._runs, self._collected_from = self._runs, [], NO_MESSAGE
            self.collected_bytes = 0
            for run, done in runs:
                store.append(run, done)
        if self._sent:
            records: list[Record | Series] = []
            sends = self._take_sent(records)
            store.append(records, _Together(sends) if sends else None, must=True)
        if self._dropped:
            gone, self._dropped = self._dropped, {}
            store.append(_describe_gone(gone))

    def describe(
        self, message: Message, message_id: int, entries: Sequence[QueueEntry], *, retained: bool
    ) -> Stored:
        """Return the record of a message."""
        return Stored(
            message_id,
            message.topic,
            message.payload,
            encode_message_properties(message.properties),
            message.qos,
            message.sender,
            self.clock.to_store(message.expires_at),
            retained,
            tuple(entries),
            _publisher_of(message) if retained else None,
        )

    def _take_sent(self, records: list[Record | Series]) -> list[Done]:
        if self._sent:
            records += [MessagesSent(number, tuple(pairs)) for number, pairs in self._sent.items()]
            self._sent.clear()
        sends, self._sends = self._sends, []
        return sends


class SessionPersistence:
    """Records the changes of one session."""

    __slots__ = ("has_will", "messages", "number", "persistence")

    def __init__(self, persistence: Persistence, number: int) -> None:
        self.persistence = persistence
        self.number = number
        self.has_will = False  # of the current connection
        self.messages: dict[bytes, int] = {}  # in flight and not released: packet id to message id

    # -- the session -----------------------------------------------------------------------

    def opened(
        self,
        owner: Identity,
        version: int,
        expiry_s: float,
        done: Done,
        *,
        must: bool,
        will: HeldWill | None = None,
    ) -> None:
        """Record a CONNECT; done is called with whether it is safe."""
        persistence, number = self.persistence, self.number
        groups = tuple(sorted(owner.groups))
        records: list[Record] = [
            Opened(number, owner.client_id, owner.name, groups, version, expiry_s)
        ]
        self.has_will = will is not None
        if will is not None:
            message, message_id = will.message, persistence.take_message_ids()
            records.append(WillHeld(number, message_id, will.delay_s, message.retain))
            records.append(persistence.describe(message, message_id, (), retained=False))
        persistence.append(records, done, must=must)

    def closed(  # of the session and of its will
        self,
        expires_at: float,
        now: float,
        will: Message | None = None,
        will_at: float = 0.0,
        *,
        takes_back: bool = False,
    ) -> None:
        """Record the end of a connection; the expiry of its will counts from will_at."""
        persistence = self.persistence
        persistence.clock.note_end(now)
        records: list[Record] = [SessionClosed(self.number, persistence.clock.to_store(expires_at))]
        if takes_back and self.has_will:
            records.append(WillEnded(self.number))
        elif will is not None:
            message_id = persistence.take_message_ids()
            due_at = persistence.clock.to_store(will_at)
            records.append(WillDelayed(self.number, message_id, due_at, will.retain))
            records.append(persistence.describe(will, message_id, (), retained=False))
        persistence.append(records)

    def will_waits(self, message_id: int, will_at: float, *, retain: bool) -> None:
        """Record when a held will is due."""
        due_at = self.persistence.clock.to_store(will_at)
        self.persistence.append((WillDelayed(self.number, message_id, due_at, retain),))

    def ended(self, done: Done | None = None) -> None:
        """Record the end of the session; harmless when repeated."""
        self.persistence.append((Ended(self.number),), done, must=True)

    def subscribed(
        self, subscriptions: Iterable[Subscription], pending: Container[str], done: Done
    ) -> None:
        """Record new or replaced filters; those in pending have retained messages to send."""
        number = self.number
        records = [Subscribed(number, each, each.topic_filter in pending) for each in subscriptions]
        self.persistence.append(records, done)

    def caught_up(self, topic_filter: str) -> None:
        """Record that the retained messages of a filter were sent."""
        self.persistence.append((CaughtUp(self.number, topic_filter),))

    def unsubscribed(self, filters: Iterable[str], done: Done | None = None) -> None:
        """Record that filters were removed."""
        records: list[Record] = [Unsubscribed(self.number, each) for each in filters]
        self.persistence.append(records, done, must=True)

    # -- messages to the client ------------------------------------------------------------

    def entry(self, delivery: Delivery) -> QueueEntry:
        """Return the queue entry of a message for this session."""
        return QueueEntry(self.number, delivery.qos, delivery.retain, delivery.identifiers)

    def stored(self, delivery: Delivery, now: float) -> None:
        """Record a message for this session alone; no answer waits for it."""
        persistence = self.persistence
        if delivery.message.expires_at is not None:
            persistence.clock.note_end(now)
        entries = (self.entry(delivery),)
        record = persistence.describe(
            delivery.message, delivery.message_id, entries, retained=False
        )
        persistence.append((record,), _ignore)

    def sent(self, packet_id: bytes, message_id: int, send: Done | None = None) -> None:
        """Record that a message is in flight."""
        self.messages[packet_id] = message_id
        self.persistence.sent(self.number, message_id, int.from_bytes(packet_id, "big"), send)

    def sent_run(self, packet_ids: Sequence[bytes], message_ids: Sequence[int]) -> None:
        """Record that the first of some consecutive messages are in flight."""
        if packet_ids:
            self.messages.update(zip(packet_ids, message_ids, strict=False))
            self.persistence.sent_series(self.number, message_ids[0], packet_ids)

    def acknowledged(self, packet_ids: Iterable[bytes]) -> None:
        """Record that messages in flight were acknowledged."""
        take = self.messages.pop
        message_ids = [found for each in packet_ids if (found := take(each, 0))]
        if message_ids:
            self.persistence.acknowledged(self.number, message_ids)

    def dropped(self, message_ids: Sequence[int]) -> None:
        """Record that queued messages were dropped."""
        if message_ids:
            self.persistence.dropped(self.number, message_ids)

    def released(self, packet_id: bytes, done: Done) -> None:
        """Record a PUBREC; the packet id is still in use."""
        number = int.from_bytes(packet_id, "big")
        record = Released(self.number, self.messages.pop(packet_id, 0), number)
        self.persistence.append((record,), done, must=True)

    def completed(self, packet_id: bytes) -> None:
        """Record a PUBCOMP; the packet id is free again."""
        self.persistence.append((Completed(self.number, int.from_bytes(packet_id, "big")),))

    # -- messages from the client ----------------------------------------------------------

    def freed(self, packet_id: int, done: Done | None = None) -> None:
        """Record a PUBREL from the client; the packet id may name a new message."""
        self.persistence.append((Freed(self.number, packet_id),), done, must=True)


class _Together:
    """Passes one answer to many callbacks."""

    __slots__ = ("_dones",)

    def __init__(self, dones: list[Done]) -> None:
        self._dones = dones

    def __call__(self, ok: bool) -> None:
        for done in self._dones:
            done(ok)


def _publisher_of(message: Message) -> Publisher | None:
    publisher = message.publisher
    if publisher is None:
        return None
    return Publisher(publisher.client_id, tuple(sorted(publisher.groups)))


def _describe_gone(message_ids: dict[int, list[int]]) -> list[Record]:
    return [Acknowledged(session, tuple(ids)) for session, ids in message_ids.items()]


def _ignore(ok: bool) -> None:
    """Do nothing; append() needs a callback for records that may be refused."""
