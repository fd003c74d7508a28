"""Acts on sessions for the embedding program: disconnects, revokes, counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.sessions.client import Client, ConnectionState, as_client
from broker.sys_topics import BrokerGauges
from broker.wire.packets import Subscription
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from broker.handlers.replies import Replies
    from broker.messages.message import Message
    from broker.routing.invalidation import RouteInvalidator
    from broker.routing.loop_time import LoopTime
    from broker.routing.retained_messages import RetainedMessages
    from broker.routing.router import Done, Router
    from broker.routing.session_registry import SessionRegistry
    from broker.routing.subscription_table import SubscriptionTable


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The messages of one session, at QoS 1 and 2."""

    waiting: int = 0  # behind those in flight
    in_flight: int = 0
    dropped: int = 0  # since the session began
    held: int = 0  # messages with a PUBACK that is held back
    state: str = "flowing"


class Administration:
    """Ends connections and sessions by name, and applies changed rights."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        clients: Collection[Client],
        registry: SessionRegistry,
        router: Router,
        subscriptions: SubscriptionTable,
        retained: RetainedMessages,
        invalidator: RouteInvalidator,
        replies: Replies,
        time: LoopTime,
        wake: Callable[[], None],
    ) -> None:
        self._clients = clients
        self._registry = registry
        self._router = router
        self._subscriptions = subscriptions
        self._retained = retained
        self._invalidator = invalidator
        self._replies = replies
        self._time = time
        self._wake = wake

    def disconnect(self, name: str, now: float) -> int:
        """Close the connections and end the sessions of an identity; count connections."""
        self._time.advance(now)
        cut = 0
        for session in self._registry:
            if session.owner.name == name:
                session.set_expiry(0.0)
                client = as_client(session.client)
                if client is not None:
                    cut += 1
                    self._replies.end(client, Reason.ADMINISTRATIVE_ACTION)
                else:
                    self._registry.end(session, now)
        self._wake()
        return cut

    def cut(self, name: str, now: float) -> int:
        """Close the connections of an identity, keep its sessions; count connections."""
        self._time.advance(now)
        clients = [as_client(each.client) for each in self._registry if each.owner.name == name]
        connected = [each for each in clients if each is not None]
        for client in connected:
            self._replies.end(client, Reason.ADMINISTRATIVE_ACTION)
        self._wake()
        return len(connected)

    def revoke(self, name: str, now: float) -> int:
        """Disconnect an identity that was removed, and remove its retained messages."""
        cut = self.disconnect(name, now)
        self._retained.forget_all_of(name)
        return cut

    def rights_changed(self) -> None:
        """Drop routes, subscriptions that are not allowed any more, and their messages.

        A retained message stays only while its publisher may publish it: that is checked before it
        is delivered again, and for a few messages at every tick.
        """
        self._invalidator.note_all()
        self._retained.store.doubt()
        for session in self._registry:
            if not session.is_restored:  # else it is checked when its owner connects
                self._registry.drop_forbidden(session, self._time.now)

    def count(self) -> BrokerGauges:
        """Count sessions and messages; takes a few milliseconds with 10,000 sessions."""
        sessions = tuple(self._registry)
        away = self._registry.away
        return BrokerGauges(
            online=len(sessions) - away,
            away=away,
            waiting=sum(session.waiting for session in sessions),
            in_flight=sum(len(session.inflight.packets) for session in sessions),
            shared=self._subscriptions.count_shared(),
            retained_bytes=self._retained.store.size_bytes,
        )

    def send(self, client_id: str, message: Message, now: float, done: Done) -> bool:
        """Give a message to one session alone; return False when there is none with room."""
        self._time.advance(now)
        session = self._registry.get(client_id)
        if session is None or not session.has_room(message.size_bytes, now):
            return False
        receivers = ((session, Subscription(message.topic, qos=message.qos)),)
        self._router.deliver(message, receivers, now, done=done)
        self._wake()
        return True

    def queue(self, client_id: str) -> QueueStatus | None:
        """Return the status of a session's messages; None when there is no session."""
        session = self._registry.get(client_id)
        if session is None:
            return None
        control, in_flight = session.overflow, len(session.inflight.packets)
        if control is None:
            return QueueStatus(session.waiting, in_flight)
        return QueueStatus(
            session.waiting, in_flight, control.dropped, control.held, control.state.name.lower()
        )

    def in_flight(self, client_id: str) -> Iterator[bytes]:
        """Yield the packets in flight to a session, the oldest first."""
        session = self._registry.get(client_id)
        return iter(() if session is None else tuple(session.inflight.packets.values()))

    def connected(self) -> frozenset[str]:
        """Return the identity names connected now."""
        return frozenset(
            client.name for client in self._clients if client.state is ConnectionState.ONLINE
        )
