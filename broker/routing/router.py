"""Delivers a message to its receivers, and stores it when one of them is stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.journal.records import Cleared, Record, Series
from broker.messages.delivery import Delivery, Encoder
from broker.messages.message import Hold, Message, NoRoom, PublishHook
from broker.sessions.session import Session
from broker.wire.packets import Subscription
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from broker.quota.counters import BrokerCounters
    from broker.routing.hooks import Hooks
    from broker.routing.retained_messages import RetainedMessages
    from broker.routing.scheduler import Scheduler
    from broker.routing.subscription_table import SubscriptionTable
    from broker.sessions.outbound import Outbound
    from broker.sessions.persistence import Persistence
    from broker.sessions.route import Receivers

Done = Callable[[bool], None]

TURN_RECEIVERS = 4  # receivers of one message, at 5 us each, that cost one unit of a turn


class Router:
    """Gives each message to its receivers."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        subscriptions: SubscriptionTable,
        retained: RetainedMessages,
        persistence: Persistence,
        hooks: Hooks,
        scheduler: Scheduler,
        counters: BrokerCounters,
        touched: dict[Outbound, None],
    ) -> None:
        self._subscriptions = subscriptions
        self._retained = retained
        self._persistence = persistence
        self._hooks = hooks
        self._scheduler = scheduler
        self._counters = counters
        self._touched = touched  # clients with output, or other work for their sockets
        self._delivering = False
        self._later: deque[tuple[Message, tuple[Record, ...], bool, Done | None]] = deque()

    def deliver(
        self,
        message: Message,
        receivers: Receivers,
        now: float,
        records: tuple[Record, ...] = (),
        *,
        stored: bool = True,
        done: Done | None = None,
    ) -> bool:
        """Give a message to its receivers; return False when it cannot be retained.

        The records are stored together with it; its hold lasts until they are safe, then done is
        called. With stored=False the message waits for its receivers in memory only.
        """
        persistence = self._persistence
        if message.retain and not self._retained.take(message, records, now):
            if done is not None:
                done(False)
            return False
        is_stored = persistence.is_on and (stored or message.retain)
        encoder = Encoder(message, now, persistence.take_message_ids() if is_stored else 0)
        self._delivering = True
        self._scheduler.spend(len(receivers) // TURN_RECEIVERS)
        for receiver, subscription in receivers:
            receiver.deliver(encoder, subscription, now)  # [MQTT-4.5.0-1] [MQTT-4.6.0-6]
            if isinstance(receiver, Session) and receiver.client is not None:
                self._touched[receiver.client] = None
        self._delivering = False
        if persistence.is_on and (records or encoder.entries or message.retain):
            self._store(encoder, records, now, done)
        elif done is not None:
            done(True)
        while self._later:
            later, its_records, its_stored, its_done = self._later.popleft()
            self.publish(later, its_records, now=now, stored=its_stored, done=its_done)
        return True

    def publish(
        self,
        message: Message,
        records: tuple[Record, ...] = (),
        *,
        now: float,
        stored: bool = True,
        done: Done | None = None,
    ) -> None:
        """Find the receivers of a message and give it to them.

        A message that a local subscriber publishes from its handler follows the handled message.
        """
        if self._delivering:
            self._later.append((message, records, stored, done))
        else:
            receivers = self._subscriptions.find_receivers(message.topic, None)
            self.deliver(message, receivers, now, records, stored=stored, done=done)

    def publish_own(self, topic: str, payload: bytes, now: float) -> None:
        """Publish a value of the broker itself: retained, but never stored or queued."""
        message = Message(topic, payload, retain=True)
        self._retained.store.keep_own(message)
        encoder = Encoder(message, now)
        for receiver, subscription in self._subscriptions.find_receivers(topic, None):
            receiver.deliver(encoder, subscription, now)
            if isinstance(receiver, Session) and receiver.client is not None:
                self._touched[receiver.client] = None

    def screen(
        self,
        message: Message,
        hooks: tuple[PublishHook, ...],
        receivers: Receivers,
        origin: Session,
    ) -> tuple[Message, Receivers] | Reason | NoRoom:
        """Return a message and its receivers after the hooks, or the reason of a refusal."""
        made = self._hooks.screen(message, hooks)
        if made is None:
            self._counters.drop("hook")
            return Reason.SUCCESS
        if isinstance(made, Reason | NoRoom):
            self._counters.refuse("publish_hook")
            self._counters.drop("hook")
            return made
        if made.topic != message.topic:
            receivers = self._subscriptions.find_receivers(made.topic, origin)
        return made, receivers

    def hand_over(self, delivery: Delivery, now: float) -> None:
        """Give a message of a session that has ended to another member of its group."""
        assert delivery.group is not None  # only shared messages are handed over
        message = delivery.message
        if delivery.group.is_empty:
            self._counters.drop("session_ended")
        elif message.is_expired(now):
            self._counters.drop("expired")
        else:
            message_id = self._persistence.take_message_ids() if self._persistence.is_on else 0
            encoder = Encoder(message, now, message_id)
            delivery.group.deliver(encoder, Subscription(message.topic), now)
            if encoder.entries:
                self._store(encoder, (), now)

    def _store(
        self,
        encoder: Encoder,
        records: tuple[Record, ...],
        now: float,
        on_stored: Done | None = None,
    ) -> None:
        message, persistence = encoder.message, self._persistence
        if message.expires_at is not None:
            persistence.clock.note_end(now)
        is_new_value = message.retain and bool(message.payload)
        written: list[Record | Series] = list(records)
        if encoder.entries or is_new_value:
            written.append(
                persistence.describe(
                    message, encoder.message_id, encoder.entries, retained=is_new_value
                )
            )
        if message.retain and not is_new_value:
            written.append(Cleared(message.topic))
        retained = self._retained.store.get(message.topic) if message.retain else None
        is_held = message.hold is not None and not message.hold.decided
        answer = _answer_of(message.hold, on_stored)

        def done(ok: bool) -> None:
            if message.retain:
                self._retained.settle(message, retained, ok=ok)
            if not ok:
                self._counters.refuse("not_stored")
            answer(ok)

        # a will, and the record that ends it, is not refused: no client would send it again
        persistence.append_message(written, done, must=bool(records) and not is_held)


def _answer_of(hold: Hold | None, on_stored: Done | None) -> Done:
    """Keep a hold; return the function that ends it, or answers a local publisher."""
    if hold is None or hold.decided:  # handed over: its publisher has its answer
        return on_stored or _ignore
    hold.keep()
    return lambda ok: hold.release() if ok else hold.refuse()


def _ignore(ok: bool) -> None:
    """Do nothing: no publisher waits for the answer."""
