"""Who gets a message: subscriptions, retained messages, rights, and routes for the flow."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from broker.backpressure import Backpressure
from broker.changes import Changes
from broker.client import Client
from broker.counters import Counters
from broker.delivery import Delivery, Encoder
from broker.durable import Ledger
from broker.errors import RemoteProtocolError
from broker.hooks import Hooks, NoRoom, PublishHook
from broker.journal.records import Cleared, Entry, Record, Series
from broker.limits import Limits
from broker.message import Hold, Message
from broker.packets import MQTT_5, Subscription
from broker.policy import Authorizer, FinerAuthorizer, Identity, IdentityDirectory
from broker.reasons import Reason
from broker.retained import RetainedStore
from broker.route import Outlet, Receiver, Receivers, Route
from broker.session import Session
from broker.shared import SharedGroup
from broker.story import Story
from broker.topics import SHARED, SYS, SYS_ROOT, SubscriptionTree, strip_share, validate_topic
from broker.turns import Turns

Done = Callable[[bool], None]

TURN_RECEIVERS = 4  # of one message, at 5 us each, are a unit of a turn
EXPIRED_STEP = 100  # expired retained messages forgotten for one that has no room: 1 ms
SIZE_MARGIN = 8  # by which the same message may be longer for another client (length, properties)


class Router:
    """All subscriptions and retained messages of one broker."""

    def __init__(
        self,
        authorizer: Authorizer,
        limits: Limits,
        counters: Counters,
        ledger: Ledger | None = None,
    ) -> None:
        self.ledger = Ledger() if ledger is None else ledger
        self.changes = Changes()  # of what routes depend on
        self.touched: set[Client] = set()  # has output, or something else for the socket to do
        self.turns = Turns()
        self.backpressure = Backpressure(self.ledger, counters)
        self.retained = RetainedStore(
            limits.retained_messages, limits.retained_bytes, self._may_stay
        )
        self._authorizer = authorizer
        self._finer = authorizer if isinstance(authorizer, FinerAuthorizer) else None
        self._directory = authorizer if isinstance(authorizer, IdentityDirectory) else None
        self._limits = limits
        self.counters = counters
        self.story = Story(counters)
        self.hooks = Hooks(counters, self.story, self.changes.note_all)
        self._tree: SubscriptionTree[Receiver] = SubscriptionTree()
        self._groups: dict[str, SharedGroup] = {}  # by filter, share name included
        self._delivering = False
        self._later: deque[tuple[Message, tuple[Record, ...], bool, Done | None]] = deque()

    def subscribe(self, receiver: Receiver, subscription: Subscription) -> None:
        """Add or replace a subscription."""
        topic_filter = subscription.topic_filter
        if topic_filter.startswith(SHARED):
            assert isinstance(receiver, Session)  # local clients share nothing
            group = self._groups.get(topic_filter)
            if group is None:
                group = self._groups[topic_filter] = SharedGroup(self.touched)
                self._tree.add(group, Subscription(strip_share(topic_filter), qos=2))
            group.add(receiver, subscription)
        else:
            self._tree.add(receiver, subscription)
            if isinstance(receiver, Session) and not self._may_read_all(receiver, topic_filter):
                self._filter(receiver)
        self.changes.note(topic_filter)

    def unsubscribe(self, receiver: Receiver, topic_filter: str) -> None:
        """Remove a subscription."""
        group = self._groups.get(topic_filter)
        if group is None:
            self._tree.remove(receiver, topic_filter)
        elif isinstance(receiver, Session):
            group.remove(receiver)
            if group.is_empty:
                del self._groups[topic_filter]
                self._tree.remove(group, strip_share(topic_filter))
        self.changes.note(topic_filter)

    @property
    def subscriptions_bytes(self) -> int:
        """What all subscriptions cost, about."""
        return self._tree.size_bytes

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Ask the authorizer; what only part of a group may read cannot be shared."""
        wanted = strip_share(topic_filter)
        if not self._authorizer.may_subscribe(identity, wanted):
            return False
        is_shared = topic_filter.startswith(SHARED)
        return not is_shared or self._finer is None or self._finer.may_read_all(identity, wanted)

    def keep_within(self, session: Session) -> None:
        """Keep from a session what its owner may not read of what it subscribed to."""
        session.may_read = None
        if not all(self._may_read_all(session, each) for each in session.subscriptions):
            self._filter(session)

    def may_publish(self, identity: Identity, topic: str) -> bool:
        """Ask the authorizer; what the broker says of itself nobody else may say."""
        if topic.startswith(SYS) or topic == SYS_ROOT:
            return False
        return self._authorizer.may_publish(identity, topic)

    def knows(self, identity: Identity) -> bool | None:
        """Ask the authorizer whether an identity still is; None: that is told when it logs in."""
        return True if self._directory is None else self._directory.knows(identity)

    def find_receivers(self, topic: str, origin: Session | None) -> Receivers:
        """Return each receiver once, with the widest of its matching subscriptions."""
        found: dict[Receiver, Subscription] = {}
        several: dict[Receiver, list[Subscription]] = {}
        for receiver, subscription in self._tree.match(topic):  # [MQTT-3.3.2-3]
            if subscription.no_local and receiver is origin:  # [MQTT-3.8.3-3]
                continue
            if isinstance(receiver, Session) and not receiver.reads(topic):
                continue
            first = found.setdefault(receiver, subscription)
            if first is not subscription:
                several.setdefault(receiver, [first]).append(subscription)
        for receiver, subscriptions in several.items():
            found[receiver] = _merge(subscriptions)
        return tuple(found.items())

    def find_route(self, client: Client, topic_bytes: bytes) -> Route:
        """Return where a client's topic goes, and remember; raises for what is no topic."""
        route = client.routes.get(topic_bytes)
        if route is None:
            # Syntax and rights depend on topic and client only: checked here, once per topic.
            route = self._learn_route(client, topic_bytes)
            if len(client.routes) >= self._limits.routes:
                client.forget_routes()
            client.routes[topic_bytes] = route
        return route

    def _learn_route(self, client: Client, topic_bytes: bytes) -> Route:
        try:
            topic = topic_bytes.decode()  # [MQTT-1.5.4-1] [MQTT-1.5.4-3]
        except UnicodeDecodeError as exc:
            raise RemoteProtocolError(
                "cannot publish: topic is not UTF-8", Reason.MALFORMED_PACKET
            ) from exc
        if "\x00" in topic:
            raise RemoteProtocolError(
                "cannot publish: U+0000 in topic", Reason.MALFORMED_PACKET
            )  # [MQTT-1.5.4-2] [MQTT-4.7.3-2]
        validate_topic(topic)
        if len(topic_bytes) > self._limits.topic_bytes:
            raise RemoteProtocolError(
                f"cannot publish: topic of more than {self._limits.topic_bytes} bytes",
                Reason.TOPIC_NAME_INVALID,
            )
        if topic.count("/") >= self._limits.topic_levels:
            raise RemoteProtocolError(
                f"cannot publish: more than {self._limits.topic_levels} levels",
                Reason.TOPIC_NAME_INVALID,
            )
        identity = client.identity
        if identity is None or not self.may_publish(identity, topic):
            return Route(topic, allowed=False)
        receivers, hooks = (
            self.find_receivers(topic, client.session),
            self.hooks.find_publish(topic),
        )
        if hooks:  # not plain: incoming.py asks them
            return Route(topic, allowed=True, receivers=receivers, hooks=hooks)
        return self._build_route(client, topic, receivers)

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
        """Give a message to its receivers; return False when it had to be retained and was not.

        records are written down together with it; its hold lasts until that is safe, and done is
        told. What is not to be stored waits for its receivers in memory only.
        """
        ledger = self.ledger
        if message.retain and not self._take_retained(message, records, now):
            if done is not None:
                done(False)
            return False
        is_stored = ledger.is_on and (stored or message.retain)
        encoder = Encoder(message, now, ledger.take_message_ids() if is_stored else 0)
        self._delivering = True
        self.turns.left -= len(receivers) // TURN_RECEIVERS
        for receiver, subscription in receivers:
            receiver.deliver(encoder, subscription, now)  # [MQTT-4.5.0-1] [MQTT-4.6.0-6]
            if isinstance(receiver, Session) and receiver.client is not None:
                self.touched.add(receiver.client)
        self._delivering = False
        if ledger.is_on and (records or encoder.entries or message.retain):
            self._write_down(encoder, records, now, done)
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

        What a local subscriber publishes while it is given a message follows that message.
        """
        if self._delivering:
            self._later.append((message, records, stored, done))
        else:
            receivers = self.find_receivers(message.topic, None)
            self.deliver(message, receivers, now, records, stored=stored, done=done)

    def tell(self, topic: str, payload: bytes, now: float) -> None:
        """Say something of the broker itself: retained, but never stored nor queued."""
        message = Message(topic, payload, retain=True)
        self.retained.keep_own(message)
        encoder = Encoder(message, now)
        for receiver, subscription in self.find_receivers(topic, None):
            receiver.deliver(encoder, subscription, now)
            if isinstance(receiver, Session) and receiver.client is not None:
                self.touched.add(receiver.client)

    def forget_retained_of(self, name: str) -> None:
        """Forget what an identity has left retained."""
        for topic in self.retained.find_of(name):
            self._drop_retained(topic)

    def count_shared(self) -> int:
        """Return how many subscriptions share."""
        return sum(map(len, self._groups.values()))

    def screen(
        self,
        message: Message,
        hooks: tuple[PublishHook, ...],
        receivers: Receivers,
        origin: Session,
    ) -> tuple[Message, Receivers] | Reason | NoRoom:
        """Return what hooks leave of a message and who gets it, or the answer when nobody does."""
        made = self.hooks.screen(message, hooks)
        if made is None:
            self.counters.drop("hook")
            return Reason.SUCCESS
        if isinstance(made, Reason | NoRoom):
            self.counters.refuse("publish_hook")
            self.counters.drop("hook")
            return made
        if made.topic != message.topic:
            receivers = self.find_receivers(made.topic, origin)
        return made, receivers

    def hand_over(self, delivery: Delivery, now: float) -> None:
        """Give to another member what one that has gone left behind."""
        assert delivery.group is not None  # else nobody else is to have it
        message = delivery.message
        if delivery.group.is_empty:
            self.counters.drop("session_ended")
        elif message.is_expired(now):
            self.counters.drop("expired")
        else:
            message_id = self.ledger.take_message_ids() if self.ledger.is_on else 0
            encoder = Encoder(message, now, message_id)
            delivery.group.deliver(encoder, Subscription(message.topic), now)
            if encoder.entries:
                self._write_down(encoder, (), now)

    def _take_retained(self, message: Message, records: tuple[Record, ...], now: float) -> bool:
        """Return whether a message is retained now; if not, write down what came with it."""
        ledger = self.ledger
        if ledger.is_on:
            self.retained.wait(message.topic)
        if self._retain(message, now):  # [MQTT-3.3.1-8]
            return True
        if ledger.is_on:
            self.retained.settle(message.topic, message, ok=False)
            ledger.append(records)
        return False

    def _write_down(
        self,
        encoder: Encoder,
        records: tuple[Record, ...],
        now: float,
        told: Done | None = None,
    ) -> None:
        message, ledger = encoder.message, self.ledger
        if message.expires_at is not None:
            ledger.note_end(now)
        is_kept = message.retain and bool(message.payload)
        written: list[Record | Series] = list(records)
        if encoder.entries or is_kept:
            written.append(
                ledger.describe(message, encoder.message_id, encoder.entries, retained=is_kept)
            )
        if message.retain and not is_kept:
            written.append(Cleared(message.topic))
        retained = self.retained.get(message.topic) if message.retain else None
        is_held = message.hold is not None and not message.hold.decided
        tell = _answer_of(message.hold, told)

        def done(ok: bool) -> None:
            if message.retain:
                self.retained.settle(message.topic, retained, ok=ok)
                self.counters.retained = len(self.retained)
            if not ok:
                self.counters.refuse("not_stored")
            tell(ok)

        # a will, and what it ends, is not refused: nobody would send it again
        ledger.append_message(written, done, must=bool(records) and not is_held)

    def _may_read_all(self, session: Session, topic_filter: str) -> bool:
        return self._finer is None or self._finer.may_read_all(session.owner, topic_filter)

    def _filter(self, session: Session) -> None:
        finer = self._finer
        assert finer is not None  # it said that not all may be read
        session.may_read = lambda topic: finer.may_read(session.owner, topic)

    def _may_stay(self, message: Message) -> bool:
        # CVE-2018-12546: a retained message must not outlive the right to publish it
        publisher = message.publisher
        if publisher is None:
            return True
        known = self.knows(publisher)
        if known is None or (known and self.may_publish(publisher, message.topic)):
            return True
        self._drop_retained(message.topic)
        return False

    def drop_expired(self, count: int, now: float) -> int:
        """Forget so many of the retained messages that have expired; return how many it were."""
        topics = self.retained.take_expired(count, now)
        for topic in topics:
            self._drop_retained(topic, "retained_expired")
        return len(topics)

    def _drop_retained(self, topic: str, reason: str = "retained_not_authorized") -> None:
        self.retained.forget(topic)
        self.ledger.append((Cleared(topic),))
        self.counters.retained = len(self.retained)
        self.counters.drop(reason)

    def _retain(self, message: Message, now: float) -> bool:
        kept = True
        if message.payload:
            kept = self._keep_retained(message.without_hold(), now)
            if not kept and not message.qos:  # [MQTT-3.3.1-7] of 3.1.1: not even then the old one
                self.retained.forget(message.topic)
                self.ledger.append((Cleared(message.topic),))
        else:
            self.retained.forget(message.topic)  # [MQTT-3.3.1-6] [MQTT-3.3.1-7]
        self.counters.retained = len(self.retained)
        if not kept:
            self.counters.drop("retained_full")
        return kept

    def _keep_retained(self, message: Message, now: float) -> bool:
        while not self.retained.keep(message):
            if not self.drop_expired(EXPIRED_STEP, now):  # [MQTT-3.3.2-5] before it is refused
                return False
        return True

    def _build_route(self, client: Client, topic: str, receivers: Receivers) -> Route:
        for receiver, subscription in receivers:
            if not isinstance(receiver, Session | SharedGroup) or subscription.identifiers:
                # not plain: dialog.py delivers one message at a time
                return Route(topic, allowed=True, receivers=receivers)
        kind = tuple((id(each), how.qos, how.retain_as_published) for each, how in receivers)
        outlet = client.outlets.get(kind)
        if outlet is None:
            outlet = client.outlets[kind] = self._build_outlet(client, receivers)
        return Route(topic, allowed=True, receivers=receivers, outlet=outlet)

    def _build_outlet(self, client: Client, receivers: Receivers) -> Outlet:
        outlet = Outlet()
        largest = self._limits.packet_bytes
        sessions: list[Session] = []
        for receiver, subscription in receivers:
            if isinstance(receiver, SharedGroup):
                outlet.groups.append(receiver)
                outlet.is_as_published |= receiver.is_as_published
                largest = min(largest, receiver.open_for())
                sessions += receiver.members
                continue
            assert isinstance(receiver, Session)  # the caller looked
            sessions.append(receiver)
            outlet.is_as_published |= subscription.retain_as_published
            other = receiver.client
            if other is not None:
                largest = min(largest, other.max_packet_bytes)  # [MQTT-3.1.2-24]
                outlet.add(other, same=other.five == client.five, qos=subscription.qos)
            if subscription.qos:
                # of one that is away it does not matter: nothing can be sent to it
                outlet.high.append((receiver, (receiver.version == MQTT_5) == client.five))
                if subscription.qos > 1:
                    outlet.exact.add(receiver)
                if receiver.diary is not None:
                    outlet.entries += (Entry(receiver.diary.number, 1),)
        if len(set(sessions)) < len(sessions):
            return outlet  # a run would change the order for one that has a message twice
        outlet.open(largest - SIZE_MARGIN, tells_nobody=client.five and not receivers)
        return outlet


def _answer_of(hold: Hold | None, told: Done | None) -> Done:
    """Keep a hold; return what lets it go, or tells a local publisher."""
    if hold is None or hold.decided:  # handed over: it was answered before
        return told or _tell_nobody
    hold.keep()
    return lambda ok: hold.release() if ok else hold.refuse()


def _tell_nobody(ok: bool) -> None:
    """Nobody waits for the answer."""


def is_stored(receiver: Receiver) -> bool:
    """Return whether what a receiver is given goes to the store, or may."""
    if isinstance(receiver, Session):
        return receiver.diary is not None
    return isinstance(receiver, SharedGroup) and any(map(is_stored, receiver.members))


def _merge(matching: list[Subscription]) -> Subscription:
    # [MQTT-3.3.4-2] the highest QoS of all that match; [MQTT-3.3.4-4] every identifier
    return replace(
        max(matching, key=lambda each: each.qos),
        retain_as_published=any(each.retain_as_published for each in matching),
        identifiers=tuple(chain.from_iterable(each.identifiers for each in matching)),
    )
