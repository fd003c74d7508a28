"""Makes the messages of one run that must be queued, once for all sessions."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from broker.messages.delivery import Delivery
from broker.messages.message import Message
from broker.wire import read_topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.sessions.client import Client
    from broker.sessions.session import Session
    from broker.wire.raw_publish import Parts


class DeferredBatch:
    """Holds the messages of one run that some sessions could not take at once."""

    __slots__ = ("_client", "_made", "_message_ids", "_parts")

    def __init__(
        self, client: Client, parts: Sequence[Parts], message_ids: Sequence[int] = ()
    ) -> None:
        self._client = client
        self._parts = parts
        self._message_ids = message_ids  # in the store; none when no session is stored
        self._made: dict[tuple[int, bool], list[Delivery]] = {}

    def add(self, session: Session, sent: int, qos: int = 1) -> None:
        """Queue for a session all but the first ones, which were sent."""
        kind = qos, bool(self._message_ids) and session.recorder is not None
        made = self._made.get(kind)
        if made is None:
            made = self._made[kind] = self._make(*kind)
        session.enqueue(made[sent:] if sent else made, self._client.last_heard)

    def _make(self, qos: int, is_stored: bool) -> list[Delivery]:
        body_at = 1 if self._client.five else 0  # behind the empty properties
        sender = self._client.name
        ids = self._message_ids if is_stored else repeat(0)
        return [
            Delivery(
                Message(read_topic(head), body[body_at:], qos=qos, sender=sender),
                qos=qos,
                message_id=message_id,
            )
            for (head, body), message_id in zip(self._parts, ids, strict=False)
        ]
