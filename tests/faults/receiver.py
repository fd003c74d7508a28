"""Compares the promises to one client with its receipts."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from broker.messages.topics import is_match
from tests.faults.events import FOREVER, Connected, Connecting, Got, Lost, Sent

Key = tuple[str, int]  # sender and number
SLACK_S = 1.0  # around the moment when a session expires; brokers count whole seconds
matches = lru_cache(maxsize=1000)(is_match)


@dataclass(slots=True)
class Message:
    """A message; indices are places in the history, None while it has not happened."""

    sent: Sent
    index: int
    sends: int = 1
    accepted: int | None = None  # PUBACK or PUBREC
    accepted_at: float = 0.0
    completed: int | None = None  # PUBACK or PUBCOMP
    refused: bool = False

    @property
    def over_at(self) -> float:
        """The time of its expiry; what was not answered may have come to the broker later."""
        return FOREVER if self.accepted is None else self.accepted_at + self.sent.expiry_s

    @property
    def key(self) -> Key:
        return self.sent.client, self.sent.number


@dataclass(slots=True)
class Want:
    """A subscription from SUBSCRIBE to UNSUBACK."""

    topic_filter: str
    qos: int
    granted: int | None = None
    ended: int | None = None  # UNSUBSCRIBE
    over: int | None = None  # UNSUBACK


class Copy(NamedTuple):
    """A message that came for the first time, or once more."""

    epoch: int
    place: int  # in the history
    times: int  # on this session
    on_epoch: int  # on this connection
    plain: int  # not marked as sent again, since the broker was started


class Finding(NamedTuple):
    """One broken promise."""

    rule: str
    text: str


@dataclass(slots=True)
class Receiver:
    """One client id; sentences about what came against the rules are added to findings."""

    name: str
    findings: list[Finding]
    promised: bool = False  # a session that must be there
    possible: bool = False  # a session that may be there: its CONNECT was sent
    expected: bool = False  # possible, before the last CONNECT
    clean: bool = True
    expiry_s: float = 0.0  # of the session, as the last CONNECT has said
    began_at: float = 0.0  # the last connection, with its CONNACK
    is_in: bool = False
    unconfirmed: int = 0  # CONNECTs since then whose answer was lost
    is_renewing: bool = False  # the last CONNECT asked for a new session, and has no answer
    may_be_new: bool = False  # the session: an earlier such CONNECT never got an answer
    may_end_at: float = FOREVER  # the session: at the earliest, if a CONNECT was never heard
    ends_at: float = FOREVER  # at the latest
    wants: list[Want] = field(default_factory=list)
    copies: dict[Key, Copy] = field(default_factory=dict)
    unreleased: set[int] = field(default_factory=set)
    highest: dict[tuple[str, str, int], int] = field(default_factory=dict)

    # -- the session -----------------------------------------------------------------------

    def connecting(self, event: Connecting) -> None:
        self.may_be_new = self.may_be_new or self.is_renewing
        self.clean, self.expiry_s, self.is_renewing = event.clean, event.expiry_s, event.clean
        self.expected, self.possible = self.possible, self.possible or event.expiry_s > 0
        if event.clean:
            self.promised = False

    def lost(self, event: Lost) -> None:
        end = event.at + self.expiry_s
        if self.is_in:
            self.may_end_at = self.ends_at = end
        else:
            self.unconfirmed += 1
            self.may_end_at, self.ends_at = min(self.may_end_at, end), max(self.ends_at, end)
        self.is_in = False
        if not self.expiry_s:
            self.promised = False

    def connected(self, event: Connected, killed_at: float) -> None:
        name, epoch = self.name, event.epoch
        may_be_over = event.at > self.may_end_at - SLACK_S
        if may_be_over:
            self.promised = False
        # it may be another one, made by a lost CONNECT
        if self.may_be_new or (may_be_over and self.unconfirmed):
            for want in self.wants:
                want.granted = None
        if event.present and event.at > self.ends_at + SLACK_S and killed_at < self.began_at:
            self._say("session", f"{name} found a session at connection {epoch} that had expired")
        if event.present and self.clean:
            self._say(
                "session", f"{name} asked for a new session at connection {epoch}, got an old one"
            )
        elif event.present and not self.expected:
            self._say(
                "session", f"{name} was given a session at connection {epoch} that it never made"
            )
        elif self.promised and not event.present:
            self._say(
                "session", f"{name} found no session at connection {epoch}, but had one before"
            )
        if not event.present:
            self.wants, self.copies = [], {}
            self.unreleased, self.highest = set(), {}
        self.began_at, self.is_in, self.unconfirmed = event.at, True, 0
        self.is_renewing = self.may_be_new = False
        # a session that was stored and is so no more ends with the connection
        self.promised = self.expiry_s > 0 or event.present

    def subscribing(self, topic_filter: str, qos: int) -> None:
        self.wants.append(Want(topic_filter, qos))

    def subscribed(self, topic_filter: str, qos: int, index: int) -> None:
        for want in self._open(topic_filter):
            if want.granted is None and qos <= 2:
                want.qos, want.granted = qos, index

    def unsubscribing(self, topic_filter: str, index: int) -> None:
        for want in self._open(topic_filter):
            want.ended = index if want.ended is None else want.ended

    def unsubscribed(self, topic_filter: str, index: int) -> None:
        for want in self._open(topic_filter):
            if want.ended is not None:
                want.over = index

    def must_get(self, message: Message) -> bool:
        """Return whether a stored subscription was there before the message, and still is."""
        return any(
            want.granted is not None
            and want.granted < message.index
            and want.ended is None
            and want.qos
            and message.sent.expiry_s == FOREVER
            and matches(want.topic_filter, message.sent.topic)
            for want in self.wants
        )

    # -- messages --------------------------------------------------------------------------

    def got(self, event: Got, message: Message, index: int, last_start: int) -> None:
        filters = self._filters_for(message)
        if not filters:
            self._say("unasked", f"{self.name} got {_show(event)} without a subscription for it")
        if message.over_at + SLACK_S < self.began_at and not event.again:
            self._say("expired", f"{self.name} got {_show(event)}, expired when it connected")
        if event.retain:  # retained before it subscribed
            return
        if event.qos == 2:
            if event.packet_id in self.unreleased:
                return  # the same once more: the client hands it on once
            self.unreleased.add(event.packet_id)
        self._count(event, message, index, last_start, max(1, filters))

    def _count(
        self, event: Got, message: Message, index: int, last_start: int, filters: int
    ) -> None:
        key = (event.sender, event.number)
        last = self.copies.get(key) or Copy(0, 0, 0, 0, 0)
        count = last.times + 1
        on_epoch = last.on_epoch + 1 if last.epoch == event.epoch else 1
        plain = (last.plain if last.place > last_start else 0) + (not event.again)
        self.copies[key] = Copy(event.epoch, index, count, on_epoch, plain)
        if count == 1:
            self._check_order(event, message)
        elif event.qos == 2:
            if count > filters:
                self._say("twice", f"{self.name} got {_show(event)} {count} times at QoS 2")
        elif on_epoch > filters * message.sends:
            self._say(
                "repeated",
                f"{self.name} got {_show(event)} {on_epoch} times on one connection, "
                f"though it was sent {message.sends} times",
            )
        elif plain > filters * message.sends:
            self._say("unmarked", f"{self.name} got {_show(event)} again, not marked as such")

    def _check_order(self, event: Got, message: Message) -> None:
        key = (event.sender, event.topic, event.qos)
        highest = self.highest.get(key, 0)
        if event.number > highest:
            self.highest[key] = event.number
        elif message.sends == 1 or self.must_get(message):
            # else it was sent for the first time before the subscription, so that only the second
            # time counts, which is late
            self._say("order", f"{self.name} got {_show(event)} behind {event.sender} {highest}")

    def _filters_for(self, message: Message) -> int:
        topic, index = message.sent.topic, message.index
        return sum(
            (want.over is None or index < want.over) and matches(want.topic_filter, topic)
            for want in self.wants
        )

    def _open(self, topic_filter: str) -> list[Want]:
        return [
            want for want in self.wants if want.over is None and want.topic_filter == topic_filter
        ]

    def _say(self, rule: str, text: str) -> None:
        self.findings.append(Finding(rule, text))


def _show(event: Got) -> str:
    return f"{event.sender} {event.number} on {event.topic}"
