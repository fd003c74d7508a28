"""Applies records to the image: the sessions and messages that the journal keeps.

Theory of operation
-------------------
Sessions and messages are items. An item's home is the segment of the last record that describes it
completely: Stored, the first Opened of a session, or a copy. A change (Subscribed, Acknowledged,
...) stands behind its item's home, never before it. So the oldest segment can be removed once no
item has its home there. For that, cleaning.py writes copies with the present state of the items at
the end of the log. Rules after every apply():

1. A message is kept exactly as long as a queue, a retained topic or a will needs it.
2. ``live[n]`` counts the items at home in segment n.
3. Applying a copy changes homes only.
4. The copy of a message names everything that needs it, its wills too: the copy of the session may
   stand behind it.

While segments are read again, records of a session may stand before its (copied) Opened; a
placeholder takes them until settle(), which drops sessions that were never opened. Afterwards
records with unknown ids change nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from broker.journal.items import (
    ENTRY_BYTES,
    MESSAGE_BYTES,
    SESSION_BYTES,
    KeptMessage,
    StoredSession,
    StoredWill,
    describe_will,
    size_of_filter,
    size_of_message,
)
from broker.journal.records import (
    Acknowledged,
    CaughtUp,
    Cleared,
    ClockRead,
    Completed,
    Ended,
    Freed,
    MessagesSent,
    Opened,
    ReceivedQos2,
    Record,
    Released,
    Renewed,
    SegmentEnded,
    SentSeries,
    Series,
    SessionClosed,
    Stored,
    StoredSeries,
    Subscribed,
    Unsubscribed,
    WillDelayed,
    WillEnded,
    WillHeld,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NOWHERE = 0  # home of what was on a part of the disk that cannot be read any more


class JournalState:
    """Holds sessions, queues and retained messages; bodies is None when bodies are not kept."""

    def __init__(self) -> None:
        self.sessions: dict[int, StoredSession] = {}
        self.messages: dict[int, KeptMessage] = {}
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
            SessionClosed: self._closed,
            Ended: self._ended,
            Subscribed: self._subscribed,
            Unsubscribed: self._unsubscribed,
            Stored: self._stored,
            StoredSeries: self._stored_series,
            MessagesSent: self._sent,
            SentSeries: self._sent_series,
            Acknowledged: self._acknowledged,
            Released: self._released,
            Completed: self._completed,
            ReceivedQos2: self._received,
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
        """Apply one record of a segment."""
        self._apply[type(record)](record, segment)

    def settle(self) -> int:
        """End the reading: drop orphans; return the number of sessions that were never opened."""
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
        """Return the records to write again before the segment of a Stored is removed."""
        message_id = record.message_id
        kept = self.messages.get(message_id)
        if kept is None or kept.home != segment:
            return []
        wills: list[Record] = []
        for session_id in sorted(self._wills.get(message_id, ())):
            wills += describe_will(self.sessions[session_id])
        entries = []
        sent: list[Record] = []
        for entry in record.entries:
            session = self.sessions.get(entry.session_id)
            packet_id = session.queue.get(message_id) if session is not None else None
            if packet_id is not None:
                entries.append(entry)
                if packet_id:
                    sent.append(MessagesSent(entry.session_id, ((message_id, packet_id),)))
        is_retained = self.retained.get(record.topic) == message_id
        copy = record._replace(is_retained=is_retained, entries=tuple(entries))
        return [*wills, copy, *sent]

    def abandon(self, segment: int) -> int:
        """Give up the copies of the items at home in a segment; return their number."""
        count = self.live.pop(segment, 0)
        if count:
            items = [*self.sessions.values(), *self.messages.values()]
            for item in cast("list[StoredSession | KeptMessage]", items):
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
        session.set_identity(record)
        session.expires_at = None
        self._end_will(session)

    def _renewed(self, record: Renewed, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            session.set_identity(record)
            self._move(session, segment)

    def _closed(self, record: SessionClosed, segment: int) -> None:
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
        self.live_bytes -= SESSION_BYTES + sum(map(size_of_filter, session.subscriptions))

    def _subscribed(self, record: Subscribed, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            topic_filter = record.subscription.topic_filter
            if topic_filter not in session.subscriptions:
                self.live_bytes += size_of_filter(topic_filter)
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
                self.live_bytes -= size_of_filter(record.topic_filter)

    def _received(self, record: ReceivedQos2, segment: int) -> None:
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
            kept = KeptMessage(segment, size_of_message(record), refs)
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
            messages[message_id] = KeptMessage(segment, overhead + len(payload), refs)
            if self.bodies is not None:
                self.bodies[message_id] = Stored(
                    message_id, record.topic, payload, sender=record.sender, entries=record.entries
                )
        self.live[segment] += len(payloads)
        self.live_bytes += overhead * len(payloads) + sum(map(len, payloads))

    def _keep(self, record: Stored, kept: KeptMessage, segment: int, refs: int) -> None:
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

    def _sent(self, record: MessagesSent, segment: int) -> None:
        session = self._session(record.session_id, segment)
        if session is not None:
            queue = session.queue
            for message_id, packet_id in record.pairs:
                if message_id in queue:
                    queue[message_id] = packet_id

    def _sent_series(self, record: SentSeries, segment: int) -> None:
        packet_ids = (int.from_bytes(each, "big") for each in record.packet_ids)
        ids = enumerate(packet_ids, record.first_id)
        self._sent(MessagesSent(record.session_id, tuple(ids)), segment)

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

    def _move(self, item: StoredSession | KeptMessage, segment: int) -> None:
        self.live[item.home] -= 1
        self.live[segment] += 1
        item.home = segment
