"""What sessions do, as records of a store: so that it is there again after a crash.

Theory of operation
-------------------
A session that is kept after its connection has a diary, if the broker has a store; every other
session has None there, which costs nothing. Rules:

1. Whoever relies on an answer (CONNACK, SUBACK, UNSUBACK, PUBACK, PUBREC, PUBREL, PUBCOMP) gets it
   when the records it speaks of are safe.
   So is the will of a client that comes, whether its session is kept or not.
2. A QoS 2 message leaves when it is safe that it was sent, and under which packet id: else, after
   a crash, the id might be given to another message, which its receiver would take for this one.
   A QoS 1 message leaves at once: it may come twice.
3. Stored stands before every other record about its message; Sent, which are collected while a
   message is delivered, come right behind it.
4. Acknowledged stands before the Sent that uses a packet id again: else, after a crash, two
   messages might have the same.
5. What stored_run.py takes and what was acknowledged is collected while a wake-up lasts, for all
   clients. flush() writes it down, in the order of these rules; core.py calls it before anything
   leaves, and append() before it adds anything else.
6. What adds to the store may be refused; what changes or removes must be kept.

7. A ClockRead stands before what has an end (a message that expires, a session whose client has
   left), so that a clock that is set back cannot give it more life than it had then.

The broker's clock is the loop's; records have the journal's (records.py). Only this file converts.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from broker.journal.records import (
    Acknowledged,
    CaughtUp,
    ClockRead,
    Closed,
    Completed,
    Ended,
    Entry,
    Freed,
    Opened,
    Publisher,
    Released,
    Sent,
    SentSeries,
    Stored,
    Subscribed,
    Unsubscribed,
    WillDelayed,
    WillEnded,
    WillHeld,
)
from broker.wire import encode_message_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from broker.client import Client
    from broker.delivery import Delivery
    from broker.journal.records import Record, Series
    from broker.message import Message
    from broker.packets import Subscription
    from broker.policy import Identity

    Done = Callable[[bool], None]


NO_MESSAGE = 1 << 64  # ids are below
CLOCK_READ_S = 60.0  # between two of them: so much life is given back by a power cut, if the
# wall clock is set back as well
CLOCK_STEP_S = 1.0  # by which the wall clock was set, not corrected
MUCH_BYTES = 65_536  # collected; then whoever collects calls flush()


class Store(Protocol):
    """Where records are kept."""

    @property
    def is_behind(self) -> bool:
        """Whether those who bring more should wait."""

    def append(
        self, records: Sequence[Record | Series], done: Done | None = None, *, must: bool = False
    ) -> None:
        """Keep all or none; done is called later. Without it, or with must, never refuse."""


class HeldWill(NamedTuple):
    """The will of a client that comes."""

    message: Message  # its properties say after how long it expires
    delay_s: float


class Ledger:
    """Writes down what the sessions of one broker do; without a store, nothing."""

    __slots__ = (
        "_acknowledged", "_ahead_s", "_boot", "_clock_read_at", "_collected_from", "_dropped",
        "_next_message", "_next_session", "_runs", "_sends", "_sent", "_store", "_wall_ahead_s",
        "collected_bytes", "touch",
    )  # fmt: skip

    def __init__(
        self, store: Store | None = None, touch: Callable[[Client], None] = lambda _: None
    ) -> None:
        self.touch = touch  # lets a client's output leave that no read has caused
        self._ahead_s = self._wall_ahead_s = 0.0  # the journal's clock and the wall's, of ours
        self._clock_read_at = -inf
        self._boot = ""
        self._store = store
        self._next_session = self._next_message = 1
        self._sent: dict[int, list[tuple[int, int]]] = {}  # by session, not appended yet
        self._sends: list[Done] = []  # what waits for these
        # collected, not appended yet
        self._runs: list[tuple[list[Series], Done]] = []
        self._collected_from = NO_MESSAGE  # the first message of these
        self.collected_bytes = 0
        self._acknowledged: dict[int, list[int]] = {}  # by session
        self._dropped: dict[int, list[int]] = {}  # of the runs

    @property
    def is_on(self) -> bool:
        """Whether anything is written down."""
        return self._store is not None

    @property
    def is_behind(self) -> bool:
        """Whether what adds to the store should wait."""
        return self._store is not None and self._store.is_behind

    @property
    def has_collected(self) -> bool:
        """Whether flush() has something to write down."""
        return bool(self._runs or self._acknowledged or self._dropped or self._sent)

    def go_on_from(self, next_session: int, next_message: int) -> None:
        """Give no number that the store knows."""
        self._next_session, self._next_message = next_session, next_message

    def start_clock(self, last: ClockRead | None, now: float, wall: float, boot: str) -> None:
        """Go on with the store's clock; now is the time since a start of the machine."""
        self._wall_ahead_s = wall - now
        self._boot = boot
        self._ahead_s = _go_on_from(last, now, wall, boot) - now
        self.read_clock(now)

    def note_wall(self, now: float, wall: float) -> None:
        """Take what the wall clock says, which may have been set."""
        ahead_s = wall - now
        is_set = abs(ahead_s - self._wall_ahead_s) >= CLOCK_STEP_S
        self._wall_ahead_s = ahead_s
        if is_set or now - self._clock_read_at >= CLOCK_READ_S:
            self.read_clock(now)

    def read_clock(self, now: float) -> None:
        """Write down both clocks; rule 7. What was collected may be written behind it."""
        self._clock_read_at = now
        if self._store is not None:
            wall = now + self._wall_ahead_s
            self._store.append((ClockRead(now + self._ahead_s, wall, now, self._boot),))

    def note_end(self, now: float) -> None:
        """Write down both clocks before something that has an end, unless that was just done."""
        if now != self._clock_read_at:
            self.read_clock(now)

    def to_store(self, instant: float | None) -> float:
        """Return an instant of the broker's clock as the store has it."""
        return 0.0 if instant is None else instant + self._ahead_s

    def instant(self, stored: float) -> float | None:
        """Return an instant of the store in the broker's clock."""
        return stored - self._ahead_s if stored else None

    def open_diary(self, number: int = 0) -> Diary | None:
        """Return a session's diary, a new one or that of a number; None without a store."""
        if self._store is None:
            return None
        if not number:
            number = self._next_session
            self._next_session += 1
        return Diary(self, number)

    def take_message_ids(self, count: int = 1) -> int:
        """Return the first of so many ids that nobody else is given."""
        first = self._next_message
        self._next_message += count
        return first

    def append(
        self, records: Sequence[Record | Series], done: Done | None = None, *, must: bool = False
    ) -> None:
        """Write records down."""
        if self._store is not None:
            self.flush()
            self._store.append(records, done, must=must)

    def append_message(
        self, records: list[Record | Series], done: Done, *, must: bool = False
    ) -> None:
        """Write a message down, and to whom it was sent."""
        sends = self._take_sent(records)
        if sends:
            sends.insert(0, done)
            done = _Together(sends)
        self.append(records, done, must=must)

    def collect_run(self, records: list[Series], first_id: int, size: int, done: Done) -> None:
        """Note new messages, with ids from the first one on, of so many bytes."""
        self.collected_bytes += size
        self._runs.append((records, done))
        self._collected_from = min(self._collected_from, first_id)

    def sent(self, session: int, message_id: int, packet_id: int, send: Done | None) -> None:
        """Note that a message is in flight; send is called once that is safe."""
        self._sent.setdefault(session, []).append((message_id, packet_id))
        if send is not None:
            self._sends.append(send)

    def sent_series(self, session: int, first_id: int, packet_ids: Sequence[bytes]) -> None:
        """Note that some messages of the run collected last are in flight."""
        self._runs[-1][0].append(SentSeries(session, first_id, packet_ids))

    def acknowledged(self, session: int, message_ids: Sequence[int]) -> None:
        """Note that a session needs messages no more, and may use their packet ids again."""
        if max(message_ids) >= self._collected_from:  # before it can know of them
            self.flush()
        self._acknowledged.setdefault(session, []).extend(message_ids)

    def dropped(self, session: int, message_ids: Sequence[int]) -> None:
        """Note that a session needs messages no more that never were in flight."""
        is_new = max(message_ids) >= self._collected_from
        gone = self._dropped if is_new else self._acknowledged
        gone.setdefault(session, []).extend(message_ids)

    def flush(self) -> None:
        """Write down what was collected."""
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
        self, message: Message, message_id: int, entries: Sequence[Entry], *, retained: bool
    ) -> Stored:
        """Return the record of a message."""
        return Stored(
            message_id,
            message.topic,
            message.payload,
            encode_message_properties(message.properties),
            message.qos,
            message.sender,
            self.to_store(message.expires_at),
            retained,
            tuple(entries),
            _publisher_of(message) if retained else None,
        )

    def _take_sent(self, records: list[Record | Series]) -> list[Done]:
        if self._sent:
            records += [Sent(number, tuple(pairs)) for number, pairs in self._sent.items()]
            self._sent.clear()
        sends, self._sends = self._sends, []
        return sends


class Diary:
    """Writes down what one session does."""

    __slots__ = ("has_will", "ledger", "messages", "number")

    def __init__(self, ledger: Ledger, number: int) -> None:
        self.ledger = ledger
        self.number = number
        self.has_will = False  # of the connection that is
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
        """A client comes; done says whether it may go on."""
        ledger, number = self.ledger, self.number
        groups = tuple(sorted(owner.groups))
        records: list[Record] = [
            Opened(number, owner.client_id, owner.name, groups, version, expiry_s)
        ]
        self.has_will = will is not None
        if will is not None:
            message, message_id = will.message, ledger.take_message_ids()
            records.append(WillHeld(number, message_id, will.delay_s, message.retain))
            records.append(ledger.describe(message, message_id, (), retained=False))
        ledger.append(records, done, must=must)

    def closed(  # of the session and of its will
        self,
        expires_at: float,
        now: float,
        will: Message | None = None,
        will_at: float = 0.0,
        *,
        takes_back: bool = False,
    ) -> None:
        """The connection has ended; its will may wait, its expiry counted from will_at."""
        ledger = self.ledger
        ledger.note_end(now)
        records: list[Record] = [Closed(self.number, ledger.to_store(expires_at))]
        if takes_back and self.has_will:
            records.append(WillEnded(self.number))
        elif will is not None:
            message_id = ledger.take_message_ids()
            due_at = ledger.to_store(will_at)
            records.append(WillDelayed(self.number, message_id, due_at, will.retain))
            records.append(ledger.describe(will, message_id, (), retained=False))
        ledger.append(records)

    def will_waits(self, message_id: int, will_at: float, *, retain: bool) -> None:
        """A will that was held is due at some time."""
        due_at = self.ledger.to_store(will_at)
        self.ledger.append((WillDelayed(self.number, message_id, due_at, retain),))

    def ended(self, done: Done | None = None) -> None:
        """The session is gone; may be said twice."""
        self.ledger.append((Ended(self.number),), done, must=True)

    def subscribed(
        self, subscriptions: Iterable[Subscription], pending: Container[str], done: Done
    ) -> None:
        """Filters were added or replaced; for those pending retained messages must be sent."""
        number = self.number
        records = [Subscribed(number, each, each.topic_filter in pending) for each in subscriptions]
        self.ledger.append(records, done)

    def caught_up(self, topic_filter: str) -> None:
        """The retained messages of a filter were sent."""
        self.ledger.append((CaughtUp(self.number, topic_filter),))

    def unsubscribed(self, filters: Iterable[str], done: Done | None = None) -> None:
        """Filters were removed."""
        records: list[Record] = [Unsubscribed(self.number, each) for each in filters]
        self.ledger.append(records, done, must=True)

    # -- what it is sent -------------------------------------------------------------------

    def entry(self, delivery: Delivery) -> Entry:
        """Return what says that the session must get a message."""
        return Entry(self.number, delivery.qos, delivery.retain, delivery.identifiers)

    def stored(self, delivery: Delivery, now: float) -> None:
        """The session alone must get a message; nobody waits for it."""
        ledger = self.ledger
        if delivery.message.expires_at is not None:
            ledger.note_end(now)
        entries = (self.entry(delivery),)
        record = ledger.describe(delivery.message, delivery.message_id, entries, retained=False)
        ledger.append((record,), _ignore)

    def sent(self, packet_id: bytes, message_id: int, send: Done | None = None) -> None:
        """A message is in flight."""
        self.messages[packet_id] = message_id
        self.ledger.sent(self.number, message_id, int.from_bytes(packet_id, "big"), send)

    def sent_run(self, packet_ids: Sequence[bytes], message_ids: Sequence[int]) -> None:
        """The first of some messages, whose ids follow one another, are in flight."""
        if packet_ids:
            self.messages.update(zip(packet_ids, message_ids, strict=False))
            self.ledger.sent_series(self.number, message_ids[0], packet_ids)

    def acknowledged(self, packet_ids: Iterable[bytes]) -> None:
        """Messages in flight are needed no more."""
        take = self.messages.pop
        message_ids = [found for each in packet_ids if (found := take(each, 0))]
        if message_ids:
            self.ledger.acknowledged(self.number, message_ids)

    def dropped(self, message_ids: Sequence[int]) -> None:
        """Messages that wait are needed no more."""
        if message_ids:
            self.ledger.dropped(self.number, message_ids)

    def released(self, packet_id: bytes, done: Done) -> None:
        """A message has arrived at QoS 2; its packet id is still in use."""
        number = int.from_bytes(packet_id, "big")
        record = Released(self.number, self.messages.pop(packet_id, 0), number)
        self.ledger.append((record,), done, must=True)

    def completed(self, packet_id: bytes) -> None:
        """The packet id of a QoS 2 message is free again."""
        self.ledger.append((Completed(self.number, int.from_bytes(packet_id, "big")),))

    # -- what it sends ---------------------------------------------------------------------

    def freed(self, packet_id: int, done: Done | None = None) -> None:
        """The packet id may mean a new message."""
        self.ledger.append((Freed(self.number, packet_id),), done, must=True)


class _Together:
    """One answer for many."""

    __slots__ = ("_dones",)

    def __init__(self, dones: list[Done]) -> None:
        self._dones = dones

    def __call__(self, ok: bool) -> None:
        for done in self._dones:
            done(ok)


def _go_on_from(last: ClockRead | None, now: float, wall: float, boot: str) -> float:
    """Return what the store's clock shows, given what it showed last."""
    if last is None:
        return wall
    if boot and last.boot == boot and now >= last.uptime:
        return last.at + now - last.uptime
    return last.at + max(wall - last.wall, 0.0)  # else it was set back meanwhile


def _publisher_of(message: Message) -> Publisher | None:
    who = message.publisher
    return None if who is None else Publisher(who.client_id, tuple(sorted(who.groups)))


def _describe_gone(message_ids: dict[int, list[int]]) -> list[Record]:
    return [Acknowledged(session, tuple(ids)) for session, ids in message_ids.items()]


def _ignore(ok: bool) -> None:
    """Nobody waits; what may be refused needs someone to be told."""
