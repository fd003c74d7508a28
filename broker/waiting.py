"""Messages of one run that have to wait: made once, whatever the number of sessions."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from broker.delivery import Delivery
from broker.message import Message
from broker.wire import read_topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.client import Client
    from broker.inflight import Parts
    from broker.session import Session


class Waiting:
    """What some sessions could not be sent at once of a client's run."""

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
        kind = qos, bool(self._message_ids) and session.diary is not None
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
