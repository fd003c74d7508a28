"""Holds the route of a client's topic, prepared for the readable and the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.journal.records import QueueEntry
    from broker.messages.delivery import Encoder
    from broker.messages.message import PublishHook
    from broker.sessions.outbound import Outbound
    from broker.sessions.session import Session
    from broker.sessions.shared_group import SharedGroup
    from broker.wire.packets import Subscription

NOT_PLAIN = -1  # as the longest packet that a receiver set takes


class Receiver(Protocol):
    """A session or a local client."""

    def deliver(self, encoder: Encoder, subscription: Subscription, now: float) -> None:
        """Take a message."""


Receivers = tuple[tuple["Receiver", "Subscription"], ...]


class ReceiverSet:
    """A set of receivers, prepared for the fast paths; topics with the same receivers share it."""

    __slots__ = (
        "clients", "entries", "exact", "groups", "high", "holding", "is_as_published", "limit",
        "limit_qos1", "limit_stored", "low_other", "low_same", "other", "same",
    )  # fmt: skip

    def __init__(self) -> None:
        self.clients: dict[Outbound, None] = {}
        # bound out.append of those connected; same: they take the sender's bytes as they are
        self.same: list[Callable[[bytes], None]] = []
        self.other: list[Callable[[bytes], None]] = []
        self.low_same: list[Callable[[bytes], None]] = []  # of these, granted QoS 0
        self.low_other: list[Callable[[bytes], None]] = []
        self.high: list[tuple[Session, bool]] = []  # granted QoS 1 or 2; whether they are "same"
        self.exact: set[Session] = set()  # of these, granted QoS 2
        self.groups: list[SharedGroup] = []
        self.entries: tuple[QueueEntry, ...] = ()  # of those among high that are stored
        self.holding: list[Session] = []  # of those among high, which hold acknowledgements back
        self.is_as_published = False  # some receiver wants RETAIN as it was
        self.limit = self.limit_qos1 = self.limit_stored = NOT_PLAIN

    def add(self, client: Outbound, *, same: bool, qos: int) -> None:
        """Let a connected client receive."""
        append = client.out.append
        self.clients[client] = None
        (self.same if same else self.other).append(append)
        if not qos:
            (self.low_same if same else self.low_other).append(append)

    def open(self, limit: int, *, has_no_receivers: bool) -> None:
        """Allow fast paths to use it for packets of at most limit bytes."""
        self.limit = limit
        if self.groups:
            return  # a member that ends hands over messages it has not acknowledged
        if self.entries or self.holding:  # the PUBACK waits: fastpath/durable.py
            self.limit_stored = limit
        elif (
            not has_no_receivers
        ):  # else the PUBACK carries a reason, which fast paths do not write
            self.limit_qos1 = limit

    @property
    def has_paused(self) -> bool:
        """True when some session at QoS 1 or 2 is paused."""
        return any(session.inflight.is_paused for session, _ in self.high)

    def takes(self, kind: int) -> int:
        """Return the longest packet that a fast path may send with this first byte."""
        return self.limit_qos1 if kind & 0x06 else self.limit


CLOSED_RECEIVER_SET = ReceiverSet()


class PublishRoute:
    """The cached route of one topic of one client."""

    __slots__ = ("allowed", "hooks", "receiver_set", "receivers", "topic")

    def __init__(
        self,
        topic: str,
        *,
        allowed: bool,
        receivers: Receivers = (),
        receiver_set: ReceiverSet = CLOSED_RECEIVER_SET,
        hooks: tuple[PublishHook, ...] = (),
    ) -> None:
        self.topic = topic
        self.allowed = allowed
        self.receivers = receivers
        self.receiver_set = receiver_set
        self.hooks = hooks  # with any, the receiver set is closed
