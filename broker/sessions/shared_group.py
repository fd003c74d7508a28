"""Delivers each message of a shared subscription to one member of its group.

Theory of operation
-------------------
A group is one receiver in the subscription tree, whatever the number of its members; groups with
other names, and other filters of the same name, are groups of their own. Members are chosen in
rotation:

1. A connected member that reads precedes one that reads too slowly, and that one precedes a member
   that is away.
2. A member that is away gets QoS 1 and 2 only; these messages wait in its session.
3. When a session ends, its QoS 1 messages without acknowledgement go to another member; those of
   QoS 2 do not, for they may have arrived. [MQTT-4.8.2-5]
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from broker.sessions.outbound import UNLIMITED_BYTES, Outbound
from broker.wire.raw_publish import translate_chunk

if TYPE_CHECKING:
    from broker.messages.delivery import Encoder
    from broker.sessions.session import Session
    from broker.wire.packets import Subscription


class SharedGroup:
    """The members of one group and filter."""

    __slots__ = ("_members", "_rotation", "_touched")

    def __init__(self, touched: dict[Outbound, None]) -> None:
        self._touched = touched
        self._members: dict[Session, Subscription] = {}
        self._rotation: deque[Session] = deque()

    def __len__(self) -> int:
        return len(self._members)

    @property
    def is_empty(self) -> bool:
        """True when no member is left."""
        return not self._members

    @property
    def members(self) -> tuple[Session, ...]:
        """The sessions that share the messages."""
        return tuple(self._members)

    @property
    def is_as_published(self) -> bool:
        """True when some member subscribed with Retain As Published."""
        return any(each.retain_as_published for each in self._members.values())

    def add(self, session: Session, subscription: Subscription) -> None:
        """Add a member, or replace its options."""
        if session not in self._members:
            self._rotation.append(session)
        self._members[session] = subscription

    def remove(self, session: Session) -> None:
        """Remove a member; harmless when it is none."""
        if self._members.pop(session, None) is not None:
            self._rotation.remove(session)

    def deliver(self, encoder: Encoder, subscription: Subscription, now: float) -> None:  # noqa: ARG002
        """Deliver a message to the next member."""
        member = self._choose(queues=encoder.message.qos > 0)
        if member is None:
            return
        self._rotation.remove(member)
        self._rotation.append(member)
        member.deliver(encoder, self._members[member], now, self)  # [MQTT-3.3.4-5]
        if member.client is not None:
            self._touched[member.client] = None

    def open_for(self) -> int:
        """Return the longest packet that share() takes; 0: it takes none."""
        largest = UNLIMITED_BYTES
        for session, subscription in self._members.items():
            if session.client is None or subscription.identifiers:
                return 0
            largest = min(largest, session.client.max_packet_bytes)
        return largest

    def share(self, packets: list[bytes], *, five: bool) -> None:
        """Give plain packets of QoS 0 to the members in rotation, as deliver() does one by one.

        speed: one slice for each member (benchmarks/, shared_group_of_4).
        """
        slow: list[Session] = []
        ready: list[Session] = []
        for session in self._rotation:
            client = session.client
            (slow if client is None or client.paused else ready).append(session)
        if not ready:
            slow, ready = [], slow
        count = len(ready)
        for number, session in enumerate(ready[: len(packets)]):
            client = session.client
            assert client is not None  # open_for() has checked it
            chunk = b"".join(packets[number::count])
            client.out.append(
                chunk if client.five == five else translate_chunk(chunk, to_five=client.five)
            )
            self._touched[client] = None
        shift = len(packets) % count
        self._rotation = deque([*slow, *ready[shift:], *ready[:shift]])

    def _choose(self, *, queues: bool) -> Session | None:
        slow = away = None
        for session in self._rotation:
            if session.client is not None:
                if not session.client.paused:
                    return session
                slow = slow or session
            elif queues and self._members[session].qos:
                away = away or session
        return slow or away
