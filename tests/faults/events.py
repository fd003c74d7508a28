"""Defines the events of a run, as clients saw them: one list, in order.

All clients of a run live in one process, so the order is true. A message is named by who sent it
and a number that only grows; its payload says both. A client's state follows from its events
alone (peer.py), so a run can be taken up again at any of them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

FOREVER = math.inf


class Connecting(NamedTuple):
    """CONNECT is on its way; the session outlives the connection by so many seconds."""

    client: str
    epoch: int
    clean: bool
    expiry_s: float  # FOREVER: it does not end by itself
    at: float = 0.0


class Connected(NamedTuple):
    """CONNACK came."""

    client: str
    epoch: int
    present: bool
    at: float


class Lost(NamedTuple):
    """The connection has ended; polite: the client sent DISCONNECT before.

    cut: the broker has ended it and gave no reason, though the version has a way to give it.
    """

    client: str
    epoch: int
    polite: bool
    at: float
    cut: bool = False


class Subscribing(NamedTuple):
    """SUBSCRIBE is on its way."""

    client: str
    topic_filter: str
    qos: int


class Subscribed(NamedTuple):
    """SUBACK came; qos is what was granted, refused above 2."""

    client: str
    topic_filter: str
    qos: int


class Unsubscribing(NamedTuple):
    """UNSUBSCRIBE is on its way."""

    client: str
    topic_filter: str


class Unsubscribed(NamedTuple):
    """UNSUBACK came."""

    client: str
    topic_filter: str


class Sent(NamedTuple):
    """PUBLISH is on its way; again: it was before, under the same packet id.

    Its expiry counts from when the broker has it, so that at is the earliest moment.
    """

    client: str
    number: int
    topic: str
    qos: int
    retain: bool
    packet_id: int
    size: int  # of the payload; 0 clears a retained message
    again: bool
    expiry_s: float = FOREVER
    at: float = 0.0


class Taken(NamedTuple):
    """PUBACK or PUBREC came; refused: its reason is an error."""

    client: str
    number: int
    packet_id: int
    refused: bool
    at: float = 0.0


class Completed(NamedTuple):
    """PUBCOMP came."""

    client: str
    number: int
    packet_id: int


class Got(NamedTuple):
    """PUBLISH came; whole: its payload is that of the message it says it is."""

    client: str
    epoch: int
    sender: str
    number: int
    topic: str
    qos: int
    packet_id: int
    again: bool
    retain: bool
    whole: bool


class Released(NamedTuple):
    """PUBREL came."""

    client: str
    packet_id: int


class WillSet(NamedTuple):
    """The CONNECT of this epoch has a will; as a message, its sender is will_sender(client)."""

    client: str
    epoch: int
    topic: str
    qos: int
    delay_s: float


class Reading(NamedTuple):
    """Somebody begins to look at all retained messages."""

    reader: str


class Read(NamedTuple):
    """So it found this; sender is "" when there is none."""

    reader: str
    topic: str
    sender: str
    number: int


class Killed(NamedTuple):
    """The broker is killed."""

    at: float


class Started(NamedTuple):
    """The broker is there again."""

    at: float


Event = (
    Connecting | Connected | Lost | Subscribing | Subscribed | Unsubscribing | Unsubscribed
    | Sent | Taken | Completed | Got | Released | WillSet | Reading | Read | Killed | Started
)  # fmt: skip

History = list[Event]
Record = Callable[[Event], None]


def will_sender(client: str) -> str:
    """Return who the will of a client is from; its number is the epoch of the connection."""
    return f"{client}.will"


def make_payload(sender: str, number: int, size: int) -> bytes:
    """Return the payload of a message; 0 bytes clear a retained one."""
    if not size:
        return b""
    head = f"{sender} {number} ".encode()
    return head + bytes((number + each) & 0xFF for each in range(size - len(head)))


def read_payload(payload: bytes) -> tuple[str, int, bool]:
    """Return sender, number and whether it is whole; "" when it is from none of us."""
    parts = payload.split(b" ", 2)
    try:
        sender, number = parts[0].decode(), int(parts[1])
    except (IndexError, ValueError):
        return "", 0, False
    return sender, number, payload == make_payload(sender, number, len(payload))
