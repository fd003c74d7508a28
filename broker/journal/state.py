"""The image: what the journal's records add up to, and which segments they still need.

Theory of operation
-------------------
Sessions and messages are items. An item's home is the segment of the last record that says all
about it: Stored, the first Opened of a session, or a copy. A change (Subscribed, Acknowledged,
...) stands behind its item's home, never before it. So the oldest segment can be removed once no
item has its home there; to get there cleaning.py writes copies, which say all that is known by
now, at the end of the log. Rules after every apply():

1. A message is kept exactly as long as a queue, a retained topic or a will needs it.
2. ``live[n]`` counts the items at home in segment n.
3. Applying a copy changes homes only.
4. The copy of a message says all that keeps it, its wills too: that of the session may be behind.

While segments are read again, what belongs to a session may stand before its (copied) Opened;
the session is made up until settle(), which drops what was never opened. Afterwards unknown ids
change nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from broker.journal.records import (
    Acknowledged,
    CaughtUp,
    Cleared,
    ClockRead,
    Closed,
    Completed,
    Ended,
    Freed,
    Opened,
    Received,
    Record,
    Released,
    Renewed,
    SegmentEnded,
    Sent,
    SentSeries,
    Series,
    Stored,
    StoredSeries,
    Subscribed,
    Unsubscribed,
    WillDelayed,
    WillEnded,
    WillHeld,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.packets import Subscription

NOWHERE = 0  # home of what was on a part of the disk that cannot be read any more
SESSION_BYTES = 128  # about, of a copy; subscriptions extra
SUBSCRIPTION_BYTES = 16  # besides the filter
MESSAGE_BYTES = 64  # besides topic, properties and payload
ENTRY_BYTES = 32
WASTE_FACTOR = 2  # the log may be so many times what is live: each byte is copied about once
SPARE_SEGMENTS = 2


class StoredWill(NamedTuple):
    """A will of a session; its message is kept for it."""

    message_id: int
    due_at: float  # 0 while the client is connected
    retain: bool
    delay_s: float = 0.0  # from the end of the connection


class StoredSession:
    """One session as it must be after a restart."""

    __slots__ = ("catching_up", "client_id", "expires_at", "expiry_s", "groups", "home", "owner",
                 "queue", "received", "released", "session_id", "subscriptions", "version",
                 "will")  # fmt: skip

    def __init__(self, session_id: int, home: int) -> None:
        self.session_id = session_id
        self.home = home
        self.client_id: str | None = None  # None: not opened yet
        self.owner = ""
        self.groups: tuple[str, ...] = ()
        self.version = 0
        self.expiry_s = 0.0
        self.expires_at: float | None = None  # None: it was connected
        self.subscriptions: dict[str, Subscription] = {}
        self.catching_up: dict[str, None] = {}  # filters whose retained messages must be sent
        self.queue: dict[int, int] = {}  # message id to packet id, 0 while it waits
        self.released: dict[int, None] = {}  # packet ids that wait for PUBCOMP, in order
        self.received: set[int] = set()  # packet ids of QoS 2 messages that wait for PUBREL
        self.will: StoredWill | None = None


class _Kept:
    __slots__ = ("home", "refs", "size")

    def __init__(self, home: int, size: int, refs: int = 0) -> None:
        self.home = home
        self.size = size
        self.refs = refs


class Image:
    """Sessions, queues and retained messages; bodies are there only while bodies is not None."""

    def __init__(self) -> None:
        self.sessions: dict[int, StoredSession] = {}
        self.messages: dict[int, _Kept] = {}
        self.bodies: dict[int, Stored] | None = {}
        self.retained: dict[str, int] = {}  # topic to message id
        self.live: Counter[int] = Counter()
        self.live_bytes = 0
        self.next_session_id = 1  # no session has this id or a higher one
        self.next_message_id = 1
        self.clock: ClockRead | None = None  # the last one
        self._wills: dict[int, set[int]] = {}  # message id to the sessions whose will it is
        self._settled = False
        self._apply: dict[type, Callable[[Any, int], None]] = {
            Opened: self._opened,
            Renewed: self._renewed,
            Closed: self._closed,
            Ended: self._ended,
            Subscribed: self._subscribed,
            Unsubscribed: self._unsubscribed,
            Stored: self._stored,
            StoredSeries: self._stored_series,
            Sent: self._sent,
            SentSeries: self._sent_series,
            Acknowledged: self._acknowledged,
            Released: self._released,
            Completed: self._completed,
            Received: self._received,
            Freed: self._freed,
            Cleared: self._cleared,
            WillDelayed: self._will_delayed,
            WillEnded: self._will_ended,
            WillHeld: self._will_held,
            SegmentEnded: lambda _record, _segment: None,
            CaughtUp: self._caught_up,
            ClockRead: self._clock_read,
        }

    def apply(self, record: Record | Series, segment: int) -> None:
        """Take one record that stands in a segment."""
        self._apply[type(record)](record, segment)

    def settle(self) -> int:
        """End the reading: drop what no session owns; return how many sessions were made up."""
        newest: dict[str, StoredSession] = {}
        orphans = 0
        for session in sorted(self.sessions.values(), key=lambda each: each.session_id):
            if session.client_id is None:
                orphans += 1
                self._end(session)
                continue
            older = newest.get(session.client_id)
            if older is not None:  # its Ended was lost
                self._end(older)
            newest[session.client_id] = session
        for session in self.sessions.values():
            session.queue = dict(sorted(session.queue.items()))
            if session.will is not None and session.will.message_id not in self.messages:
                self._end_will(session)
        self._settled = True
        return orphans

    def renew(self, record: Stored, segment: int) -> list[Record]:
        """Return what must be written again before the segment of a Stored is removed."""
        message_id = record.message_id
        kept = self.messages.get(message_id)
        if kept is None or kept.home != segment:
            return []
        wills: list[Record] = []
        for session_id in sorted(self._wills.get(message_id, ())):
            wills += _describe_will(self.sessions[session_id])
        entries = []
        sent: list[Record] = []
        for entry in record.entries:
            session = self.sessions.get(entry.session_id)
            packet_id = session.queue.get(message_id) if session is not None else None
            if packet_id is not None:
                entries.append(entry)
                if packet_id:
                    sent.append(Sent(entry.session_id, ((message_id, packet_id),)))
        is_retained = self.retained.get(record.topic) == message_id
        copy = record._replace(is_retained=is_retained, entries=tuple(entries))
        return [*wills, copy, *sent]

    def abandon(self, segment: int) -> int:
        """Give up the copies of what is at home in a segment; return how many items that are."""
        count = self.live.pop(segment, 0)
        if count:
            items: list[StoredSession | _Kept] = [*self.sessions.values(), *self.messages.values()]
            for item in items:
                if item.home == segment:
                    item.home = NOWHERE
                    self.live[NOWHERE] += 1
        return count

    # -- sessions --------------------------------------------------------------------------

    def _session(self, session_id: int, segment: int) -> StoredSession | None:
        session = self.sessions.get(session_id)
        if session is None and not self._settled:
            session = self._add_session(session_id, segment)
        return session

    def _add_session(self, session_id: int, segment: int) -> StoredSession:
        session = self.sessions[session_id] = StoredSession(session_id, segment)
        self.next_session_id = max(self.next_session_id, session_id + 1)
        self.live[segment] += 1
        self.live_bytes += SESSION_BYTES
        return session

    def _opened(self, record: Opened, segment: int) -> None:
        session = self.sessions.get(record.session_id)
        if session is None:
            session = self._add_session(record.session_id, segment)
        _set_identity(session, record)
        session.expires_at = None
        self._end_will(session)

    def _renewed(self, record: Renewed, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            _set_identity(session, record)
            self._move(session, segment)

    def _closed(self, record: Closed, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            session.expires_at = record.expires_at

    def _ended(self, record: Ended, segment: int) -> None:  # noqa: ARG002  # as all of them
        session = self.sessions.get(record.session_id)
        if session is not None:
            self._end(session)

    def _end(self, session: StoredSession) -> None:
        del self.sessions[session.session_id]
        for message_id in session.queue:
            self._let_go(message_id)
        self._end_will(session)
        self.live[session.home] -= 1
        self.live_bytes -= SESSION_BYTES + sum(map(_size_of_filter, session.subscriptions))

    def _subscribed(self, record: Subscribed, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            topic_filter = record.subscription.topic_filter
            if topic_filter not in session.subscriptions:
                self.live_bytes += _size_of_filter(topic_filter)
            session.subscriptions[topic_filter] = record.subscription
            if record.catches_up:
                session.catching_up[topic_filter] = None

    def _caught_up(self, record: CaughtUp, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            session.catching_up.pop(record.topic_filter, None)

    def _unsubscribed(self, record: Unsubscribed, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            session.catching_up.pop(record.topic_filter, None)
            subscription = session.subscriptions.pop(record.topic_filter, None)
            if subscription is not None:
                self.live_bytes -= _size_of_filter(record.topic_filter)

    def _received(self, record: Received, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            session.received.add(record.packet_id)

    def _freed(self, record: Freed, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            session.received.discard(record.packet_id)

    # -- messages --------------------------------------------------------------------------

    def _stored(self, record: Stored, segment: int) -> None:
        message_id = record.message_id
        kept = self.messages.get(message_id)
        if kept is None:
            refs = len(self._wills.get(message_id, ()))
            kept = _Kept(segment, _size_of_message(record), refs)
        refs = kept.refs
        for entry in record.entries:
            session = self._session(entry.session_id, segment)
            if session is not None and message_id not in session.queue:
                session.queue[message_id] = 0
                refs += 1
        last = self.retained.get(record.topic) if record.is_retained else message_id
        if last != message_id:
            self.retained[record.topic] = message_id
            refs += 1
        if message_id >= self.next_message_id:
            self.next_message_id = message_id + 1
        if refs:
            self._keep(record, kept, segment, refs)
        if last is not None and last != message_id:
            self._let_go(last)

    def _stored_series(self, record: StoredSeries, segment: int) -> None:
        first, payloads, messages = record.first_id, record.payloads, self.messages
        following = first + len(payloads)
        self.next_message_id = max(self.next_message_id, following)
        refs = 0
        for entry in record.entries:
            session = self._session(entry.session_id, segment)
            if session is not None:
                session.queue.update(dict.fromkeys(range(first, following), 0))
                refs += 1
        if not refs:
            return
        overhead = len(record.topic) + MESSAGE_BYTES + ENTRY_BYTES * len(record.entries)
        for message_id, payload in enumerate(payloads, first):
            messages[message_id] = _Kept(segment, overhead + len(payload), refs)
            if self.bodies is not None:
                self.bodies[message_id] = Stored(
                    message_id, record.topic, payload, sender=record.sender, entries=record.entries
                )
        self.live[segment] += len(payloads)
        self.live_bytes += overhead * len(payloads) + sum(map(len, payloads))

    def _keep(self, record: Stored, kept: _Kept, segment: int, refs: int) -> None:
        if kept.refs and record.message_id in self.messages:
            self._move(kept, segment)
        else:
            self.messages[record.message_id] = kept
            self.live[segment] += 1
            self.live_bytes += kept.size
        kept.refs = refs
        if self.bodies is not None:
            self.bodies[record.message_id] = record

    def _let_go(self, message_id: int) -> None:
        kept = self.messages.get(message_id)
        if kept is None:
            return
        kept.refs -= 1
        if not kept.refs:
            del self.messages[message_id]
            self.live[kept.home] -= 1
            self.live_bytes -= kept.size
            if self.bodies is not None:
                del self.bodies[message_id]

    def _sent(self, record: Sent, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            queue = session.queue
            for message_id, packet_id in record.pairs:
                if message_id in queue:
                    queue[message_id] = packet_id

    def _sent_series(self, record: SentSeries, segment: int) -> None:
        ids = enumerate(map(_decode_packet_id, record.packet_ids), record.first_id)
        self._sent(Sent(record.session_id, tuple(ids)), segment)

    def _acknowledged(self, record: Acknowledged, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            take, let_go = session.queue.pop, self._let_go
            for message_id in record.message_ids:
                if take(message_id, None) is not None:
                    let_go(message_id)

    def _released(self, record: Released, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            session.released[record.packet_id] = None
            if session.queue.pop(record.message_id, None) is not None:
                self._let_go(record.message_id)

    def _completed(self, record: Completed, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            session.released.pop(record.packet_id, None)

    def _cleared(self, record: Cleared, segment: int) -> None:  # noqa: ARG002  # as all of them
        message_id = self.retained.pop(record.topic, None)
        if message_id is not None:
            self._let_go(message_id)

    def _clock_read(self, record: ClockRead, segment: int) -> None:  # noqa: ARG002
        if self.clock is None or record.at >= self.clock.at:  # a copy may be an old one
            self.clock = record

    # -- wills -----------------------------------------------------------------------------

    def _will_held(self, record: WillHeld, segment: int) -> None:
        will = StoredWill(record.message_id, 0.0, record.retain, record.delay_s)
        self._set_will(record.session_id, will, segment)

    def _will_delayed(self, record: WillDelayed, segment: int) -> None:
        will = StoredWill(record.message_id, record.due_at, record.retain)
        self._set_will(record.session_id, will, segment)

    def _set_will(self, session_id: int, will: StoredWill, segment: int) -> None:
        session = self._session(session_id, segment)
        if session is None:
            return
        if session.will is None or session.will.message_id != will.message_id:
            self._end_will(session)
            self._wills.setdefault(will.message_id, set()).add(session_id)
            kept = self.messages.get(will.message_id)
            if kept is not None:
                kept.refs += 1
        session.will = will

    def _will_ended(self, record: WillEnded, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            self._end_will(session)

    def _end_will(self, session: StoredSession) -> None:
        if session.will is not None:
            message_id, session.will = session.will.message_id, None
            self._wills[message_id].discard(session.session_id)
            if not self._wills[message_id]:
                del self._wills[message_id]
            self._let_go(message_id)

    # -- homes -----------------------------------------------------------------------------

    def _move(self, item: StoredSession | _Kept, segment: int) -> None:
        self.live[item.home] -= 1
        self.live[segment] += 1
        item.home = segment


def describe_session(session: StoredSession) -> Iterator[Record]:
    """Yield the copy of a session: all but its queue, which is that of its messages."""
    session_id = session.session_id
    if session.client_id is None:
        return
    yield Renewed(session_id, session.client_id, session.owner, session.groups, session.version,
                  session.expiry_s)  # fmt: skip
    if session.expires_at is not None:
        yield Closed(session_id, session.expires_at)
    for topic_filter, subscription in session.subscriptions.items():
        yield Subscribed(session_id, subscription, topic_filter in session.catching_up)
    for packet_id in session.received:
        yield Received(session_id, packet_id)
    for packet_id in session.released:
        yield Released(session_id, 0, packet_id)
    yield from _describe_will(session)


def _describe_will(session: StoredSession) -> Iterator[Record]:
    session_id, will = session.session_id, session.will
    if will is None:
        return
    if will.due_at:
        yield WillDelayed(session_id, will.message_id, will.due_at, will.retain)
    else:
        yield WillHeld(session_id, will.message_id, will.delay_s, will.retain)


def should_clean(log_bytes: int, live_bytes: int, segments: int, segment_bytes: int) -> bool:
    """Return whether the oldest segment should be written again and removed.

    The log may hold as much waste as live records, so cleaning writes about one byte for each
    byte that is appended. Many small segments, of many restarts, are joined as well.
    """
    allowed = WASTE_FACTOR * live_bytes + SPARE_SEGMENTS * segment_bytes
    needed = allowed // segment_bytes
    return log_bytes > allowed or segments > 4 * needed + 16


def _set_identity(session: StoredSession, record: Opened | Renewed) -> None:
    _, session.client_id, session.owner, session.groups, session.version, expiry_s = record
    session.expiry_s = expiry_s


def _size_of_message(record: Stored) -> int:
    body = len(record.topic) + len(record.payload) + len(record.properties)
    return body + MESSAGE_BYTES + ENTRY_BYTES * len(record.entries)


def _decode_packet_id(packet_id: bytes) -> int:
    return int.from_bytes(packet_id, "big")


def _size_of_filter(topic_filter: str) -> int:
    return len(topic_filter) + SUBSCRIPTION_BYTES
