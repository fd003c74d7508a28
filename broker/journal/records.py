"""Defines the records of the journal; record_codec.py writes them.

Session ids and message ids are the journal's own: they only grow, so the order of message ids is
the order in which a session's messages were queued.

Instants are seconds of the journal's clock; 0 is "never". The clock begins as the wall clock and
runs on with the broker's, so that nothing gains or loses life when the wall clock is set.
ClockRead says where the clocks were, so that the next start can compute how long the broker was
down: by the time since the machine's start, which nobody sets, or by the wall clock if the machine
was down as well.
"""

from collections.abc import Sequence
from typing import NamedTuple

from broker.wire.packets import Subscription


class Opened(NamedTuple):
    """A client is connected to its session, new or not; ends its expiry and its will.

    With an expiry of 0 the session is stored for its will alone.
    """

    session_id: int
    client_id: str
    owner: str  # name of the identity
    groups: tuple[str, ...]
    version: int  # protocol level
    expiry_s: float


class Renewed(NamedTuple):
    """The present state of a session; begins its copy, in one append, by the journal only."""

    session_id: int
    client_id: str
    owner: str
    groups: tuple[str, ...]
    version: int
    expiry_s: float


class SessionClosed(NamedTuple):
    """The connection has ended, the session is kept."""

    session_id: int
    expires_at: float


class Ended(NamedTuple):
    """The session has ended, with its queue and its subscriptions."""

    session_id: int


class Subscribed(NamedTuple):
    """A subscription was added or replaced; retained messages may have to be sent for it."""

    session_id: int
    subscription: Subscription
    catches_up: bool = False


class Unsubscribed(NamedTuple):
    """A subscription was removed."""

    session_id: int
    topic_filter: str


class CaughtUp(NamedTuple):
    """All retained messages of a filter were sent, or are queued."""

    session_id: int
    topic_filter: str


class QueueEntry(NamedTuple):
    """One session that must get a message."""

    session_id: int
    qos: int
    retain: bool = False
    identifiers: tuple[int, ...] = ()


class Publisher(NamedTuple):
    """The publisher of a retained message, whose right to it is checked again after a start."""

    client_id: str
    groups: tuple[str, ...] = ()


class Stored(NamedTuple):
    """A message, once for all its receivers; with is_retained it is also its topic's retained."""

    message_id: int
    topic: str
    payload: bytes
    properties: bytes = b""  # as on the wire, MQTT 5; only those that travel with a message
    qos: int = 1
    sender: str = ""
    expires_at: float = 0.0
    is_retained: bool = False
    entries: tuple[QueueEntry, ...] = ()
    publisher: Publisher | None = None  # None: local, or of a message that is not retained


class MessagesSent(NamedTuple):
    """Messages of a session are in flight under packet ids."""

    session_id: int
    pairs: tuple[tuple[int, int], ...]  # message id, packet id


class Acknowledged(NamedTuple):
    """A session needs these messages no more: acknowledged, expired or dropped."""

    session_id: int
    message_ids: tuple[int, ...]


class Released(NamedTuple):
    """PUBREC came: the message is no longer needed; its packet id is in use until Completed."""

    session_id: int
    message_id: int
    packet_id: int


class Completed(NamedTuple):
    """PUBCOMP came."""

    session_id: int
    packet_id: int


class ReceivedQos2(NamedTuple):
    """A QoS 2 message with this packet id was accepted; a second one is a duplicate."""

    session_id: int
    packet_id: int


class Freed(NamedTuple):
    """PUBREL came: the packet id may mean a new message."""

    session_id: int
    packet_id: int


class Cleared(NamedTuple):
    """A topic has no retained message any more."""

    topic: str


class WillHeld(NamedTuple):
    """The will of a client that is connected; its message is a Stored behind it, as below.

    When the message expires is counted from its publication: its properties say how long it takes.
    """

    session_id: int
    message_id: int
    delay_s: float
    retain: bool = False


class WillDelayed(NamedTuple):
    """A will waits; its message is a Stored behind this record in the same append, or held."""

    session_id: int
    message_id: int
    due_at: float
    retain: bool = False


class WillEnded(NamedTuple):
    """The will was published or taken back."""

    session_id: int


class ClockRead(NamedTuple):
    """The journal's clock, the wall clock and the machine's time since its start at one moment."""

    at: float
    wall: float
    uptime: float = 0.0
    boot: str = ""  # names the start of the machine; "": it has no name


class SegmentEnded(NamedTuple):
    """The size of the segment before this one; written by the log only, changes no state."""

    number: int
    size: int


Record = (
    Opened | SessionClosed | Ended | Subscribed | Unsubscribed | Stored | MessagesSent
    | Acknowledged | Released | Completed | ReceivedQos2 | Freed | Cleared | WillDelayed
    | WillEnded | Renewed | CaughtUp | ClockRead | WillHeld | SegmentEnded
)  # fmt: skip


class StoredSeries(NamedTuple):
    """New messages of one sender on one topic, at QoS 1; their ids follow one another."""

    first_id: int
    topic: str
    payloads: Sequence[bytes]
    sender: str
    entries: tuple[QueueEntry, ...]  # of all of them


class SentSeries(NamedTuple):
    """Messages of a session are in flight; their ids follow one another."""

    session_id: int
    first_id: int
    packet_ids: Sequence[bytes]  # as on the wire


# speed: the most frequent records; on the disk a series is the same records, one by one
Series = StoredSeries | SentSeries
