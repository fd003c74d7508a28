"""Defines the items that the journal keeps, sessions and messages, and their sizes on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broker.journal.records import (
    Opened,
    ReceivedQos2,
    Record,
    Released,
    Renewed,
    SessionClosed,
    Stored,
    Subscribed,
    WillDelayed,
    WillHeld,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.wire.packets import Subscription

SESSION_BYTES = 128  # about, of a copy; subscriptions extra
SUBSCRIPTION_BYTES = 16  # besides the filter
MESSAGE_BYTES = 64  # besides topic, properties and payload
ENTRY_BYTES = 32


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

    def set_identity(self, record: Opened | Renewed) -> None:
        """Take the client and the owner from a record."""
        _, self.client_id, self.owner, self.groups, self.version, self.expiry_s = record


class KeptMessage:
    """The place, the size and the number of users of a stored message."""

    __slots__ = ("home", "refs", "size")

    def __init__(self, home: int, size: int, refs: int = 0) -> None:
        self.home = home
        self.size = size
        self.refs = refs


def describe_session(session: StoredSession) -> Iterator[Record]:
    """Yield the copy of a session without its queue, which the copies of its messages name."""
    session_id = session.session_id
    if session.client_id is None:
        return
    yield Renewed(session_id, session.client_id, session.owner, session.groups, session.version,
                  session.expiry_s)  # fmt: skip
    if session.expires_at is not None:
        yield SessionClosed(session_id, session.expires_at)
    for topic_filter, subscription in session.subscriptions.items():
        yield Subscribed(session_id, subscription, topic_filter in session.catching_up)
    for packet_id in session.received:
        yield ReceivedQos2(session_id, packet_id)
    for packet_id in session.released:
        yield Released(session_id, 0, packet_id)
    yield from describe_will(session)


def describe_will(session: StoredSession) -> Iterator[Record]:
    """Yield the record of a session's will, if it has one."""
    session_id, will = session.session_id, session.will
    if will is None:
        return
    if will.due_at:
        yield WillDelayed(session_id, will.message_id, will.due_at, will.retain)
    else:
        yield WillHeld(session_id, will.message_id, will.delay_s, will.retain)


def size_of_message(record: Stored) -> int:
    """Return about how many bytes a message takes."""
    body = len(record.topic) + len(record.payload) + len(record.properties)
    return body + MESSAGE_BYTES + ENTRY_BYTES * len(record.entries)


def size_of_filter(topic_filter: str) -> int:
    """Return about how many bytes a subscription takes."""
    return len(topic_filter) + SUBSCRIPTION_BYTES
