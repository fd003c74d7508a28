"""Runs the broker without sockets: takes input and events, yields output.

net/hub.py calls open(), receive(), decide(), lost() and tick(), and after any of them write_all().
wake() asks for a write_all() that none of these calls causes.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.administration import Administration
from broker.fastpath.aliased import AliasedFastPath
from broker.fastpath.dispatcher import PacketDispatcher
from broker.fastpath.durable import DurableFastPath
from broker.fastpath.fan_out import FanOut
from broker.fastpath.plain import PlainFastPath
from broker.fastpath.qos2 import Qos2FastPath
from broker.fastpath.retained import RetainedFastPath
from broker.handlers.acknowledge import AckHandler
from broker.handlers.connect import ConnectHandler
from broker.handlers.deadlines import ConnectionDeadlines
from broker.handlers.enhanced_auth import EnhancedAuth
from broker.handlers.grants import SubscriptionGrants
from broker.handlers.packets import PacketHandler
from broker.handlers.publish import PublishHandler
from broker.handlers.publish_acks import PublishAcks
from broker.handlers.replies import Replies
from broker.handlers.subscribe import SubscribeHandler
from broker.journal.state import JournalState
from broker.messages.message import Message
from broker.policy import Authorizer, Identity, Step
from broker.quota.counters import BrokerCounters
from broker.quota.limits import Limits
from broker.quota.log_limiter import COMINGS_AND_GOINGS, LogLimiter
from broker.routing.access_check import AccessCheck
from broker.routing.backpressure import Backpressure
from broker.routing.hooks import Hooks
from broker.routing.invalidation import RouteInvalidator
from broker.routing.loop_time import LoopTime
from broker.routing.recovery import SessionRecovery
from broker.routing.retained_messages import RetainedMessages
from broker.routing.route_builder import RouteBuilder
from broker.routing.router import Done, Router
from broker.routing.scheduler import Scheduler
from broker.routing.session_registry import SessionRegistry
from broker.routing.subscription_table import SubscriptionTable
from broker.routing.wills import WillPublisher
from broker.sessions.client import CLOSED, Client, ClientTransport, ConnectionState, as_client
from broker.sessions.outbound import Outbound
from broker.sessions.persistence import Persistence
from broker.sessions.route import Receiver
from broker.sessions.store_clock import RecordSink
from broker.sys_topics import SysTopics, SysTopicSettings
from broker.wire.packets import Subscription
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from broker.fastpath.fan_out import Run

logger = logging.getLogger(__name__)

VERSIONS = {3: "MQTT 3.1", 4: "MQTT 3.1.1", 5: "MQTT 5"}
DOUBTS = 1_000  # retained messages checked at a tick after rights have changed: 10 ms
EXPIRIES = 2_000  # retained messages removed at a tick: about 10 ms
UNREAD_ANSWERS_BYTES = 65_536  # 16 384 PUBACKs


class Core:
    """Builds the parts of one broker and runs its connections."""

    def __init__(
        self,
        authorizer: Authorizer,
        limits: Limits,
        wake: Callable[[], None],
        store: RecordSink | None = None,
        *,
        hot_path: bool = True,  # False: handlers take every packet, to compare the two
        reporting: SysTopicSettings | None = None,  # in $SYS topics
    ) -> None:
        self.counters = counters = BrokerCounters()
        self.log_limiter = LogLimiter(counters)
        self._limits = limits
        self._wake = wake
        self._clients: set[Client] = set()
        self._not_stored = 0  # refusals, at the last tick
        self._sys_topics = SysTopics(counters, reporting or SysTopicSettings())
        self._build_routing(authorizer, store)
        self._build_handlers()
        self._build_paths(hot_path=hot_path, is_stored=store is not None)
        self.admin = Administration(
            self._clients, self._registry, self._router, self._subscriptions, self._retained,
            self._invalidator, self._replies, self._time, wake,
        )  # fmt: skip

    def _build_routing(self, authorizer: Authorizer, store: RecordSink | None) -> None:
        limits, counters, log_limiter = self._limits, self.counters, self.log_limiter
        self._touched: dict[Outbound, None] = {}  # in order, with output or other work
        self._time = LoopTime()
        self._scheduler = Scheduler()
        self._persistence = persistence = Persistence(store, self._touch)
        self._backpressure = Backpressure(persistence, counters)
        self._invalidator = invalidator = RouteInvalidator()
        self.hooks = hooks = Hooks(counters, log_limiter, invalidator.note_all)
        self._access = access = AccessCheck(authorizer)
        self._subscriptions = SubscriptionTable(access, invalidator, self._touched)
        self._retained = RetainedMessages(access, persistence, counters, limits)
        self._routes = RouteBuilder(self._subscriptions, access, hooks, limits)
        self._router = Router(
            self._subscriptions, self._retained, persistence, hooks, self._scheduler, counters,
            self._touched,
        )  # fmt: skip
        self._wills = WillPublisher(self._router, access, hooks, persistence, counters, log_limiter)
        self._registry = SessionRegistry(
            self._router, self._wills, self._subscriptions, access, persistence, invalidator,
            limits, counters,
        )  # fmt: skip

    def _build_handlers(self) -> None:
        limits, counters, log_limiter = self._limits, self.counters, self.log_limiter
        persistence, registry, hooks = self._persistence, self._registry, self.hooks
        self._replies = replies = Replies(
            registry, hooks, limits, counters, log_limiter, self._touched, self._time
        )
        self._acks = AckHandler(
            replies, self._retained.store, persistence, self._scheduler, counters, self._touched,
            self._time,
        )  # fmt: skip
        self._publish_acks = PublishAcks(replies, limits, counters, self._touched, self._wake)
        self._enhanced = EnhancedAuth(
            replies, counters, limits.connect_timeout_s, self._apply_new_identity
        )
        self._deadlines = ConnectionDeadlines(
            self._clients, replies, self._enhanced, limits, counters, log_limiter
        )
        self._connect_handler = ConnectHandler(
            registry, hooks, persistence, limits, counters, log_limiter, self._touched
        )
        grants = SubscriptionGrants(
            registry, self._subscriptions, self._access, hooks, limits, counters, log_limiter,
            self._time,
        )  # fmt: skip
        subscribe_handler = SubscribeHandler(
            grants, self._subscriptions, self._retained.store, persistence, self._acks, replies,
            counters,
        )  # fmt: skip
        publish_handler = PublishHandler(
            self._router, self._routes, self._publish_acks, replies, persistence, self._scheduler,
            self._backpressure, limits, counters, log_limiter,
        )  # fmt: skip
        self._packet_handler = PacketHandler(
            self._connect_handler, publish_handler, subscribe_handler, self._acks, self._enhanced,
            replies, limits, counters, log_limiter, self._time,
        )  # fmt: skip

    def _build_paths(self, *, hot_path: bool, is_stored: bool) -> None:
        counters, scheduler, limits = self.counters, self._scheduler, self._limits
        send_waiting = self._acks.send_waiting
        fan_out = FanOut(self._routes, scheduler, counters, self._touched)
        durable_path = DurableFastPath(
            fan_out, self._routes, self._publish_acks, self._persistence, self._backpressure,
            limits, counters,
        )  # fmt: skip
        self._dispatcher = PacketDispatcher(
            self._packet_handler,
            send_waiting,
            AliasedFastPath(fan_out).run,
            durable_path.run,
            scheduler,
            self._backpressure,
            self._invalidator,
            counters,
            self._touched,
        )
        self._runs: dict[int, Run] = {}
        if not hot_path:
            return
        self._runs |= PlainFastPath(fan_out, counters, send_waiting).runs
        self._runs |= Qos2FastPath(
            fan_out, scheduler, limits, counters, self._touched, send_waiting
        ).runs
        if not is_stored:
            self._runs |= RetainedFastPath(fan_out, self._retained.store, scheduler, counters).runs

    @property
    def has_output(self) -> bool:
        """True when take_writes() has work to do."""
        waits = self._touched or self._scheduler.has_waiting_clients
        if waits or self._persistence.has_collected:
            return True
        return bool(self._backpressure.waiting) and self._backpressure.is_over

    def restore(self, image: JournalState, now: float, wall: float, boot: str = "") -> None:
        """Restore sessions and messages from the store, before the first connection.

        now counts the seconds since a start of the machine, which boot names.
        """
        self._time.advance(now)
        self._persistence.clock.start(image.clock, now, wall, boot)
        SessionRecovery(
            image, now, self._registry, self._subscriptions, self._retained.store, self._access,
            self._persistence, self._limits, self.counters,
        ).run()  # fmt: skip
        self._invalidator.note_all()

    def note_wall(self, now: float, wall: float) -> None:
        """Note the time of the wall clock, which only the store needs, for the next start."""
        self._persistence.clock.note_wall(now, wall)

    def write_down(self) -> None:
        """Pass the records of the last reads to the store."""
        self._persistence.flush()

    def open(self, link: ClientTransport, listener: str, peer: str, now: float) -> Client | None:
        """Take a new connection; None when there are too many."""
        self.counters.connections_total += 1
        if len(self._clients) >= self._limits.connections:
            self.counters.refuse("connections")
            return None
        client = Client(link, listener, peer, self._limits.connect_bytes)
        client.set_deadline(now + self._limits.connect_timeout_s)
        self._clients.add(client)
        self.counters.connections = len(self._clients)
        return client

    def receive(self, client: Client, data: bytes, now: float) -> None:
        """Take the bytes of one read."""
        self._time.now = now  # speed: once per read, without a call
        self._dispatcher.feed(client, data, now)

    def open_buffer(self, client: Client) -> None:
        """Let the rest of an incomplete packet be read straight into its place."""
        client.open_buffer()

    def receive_buffered(self, client: Client, size: int, now: float) -> None:
        """Take the bytes that were read into that buffer."""
        self._time.advance(now)
        self._dispatcher.feed_buffer(client, size, now)

    def write_all(self, now: float, *, in_between: bool = False) -> None:
        """Write the output of every client touched, and give waiting clients their turns.

        in_between is set between two reads of one loop iteration: no client has a new turn then.
        """
        self._time.now = now  # speed: as in receive()
        scheduler = self._scheduler
        if self._backpressure.waiting and not in_between:
            for client in self._backpressure.release(self._publish_acks.has_room):
                scheduler.wait(client)
                self._touched[client] = None
        for client, output in self._dispatcher.take_writes():
            if output:
                client.link.write(output)
            if client.state is CLOSED:
                client.link.close()  # [MQTT-3.14.4-2] [MQTT-4.13.1-1]
                continue
            waits = bool(client.parts) and not client.need  # its turn is over, or it is held
            if waits and not client.held:
                scheduler.wait(client)
            if waits or client.held or client.paused or client.reading_stopped:
                self._set_reading(client, waits=waits)
        self._persistence.flush()  # speed: what was written waits for no record of it
        if not in_between:
            for client in scheduler.wake_up():
                self._dispatcher.go_on(client)

    def decide(self, client: Client, outcome: Identity | Step, now: float) -> None:
        """Apply the answer of the authenticator, or of an authentication method."""
        self._time.advance(now)
        verdict = self._enhanced.answer(client, outcome)
        if verdict is not None:  # else the exchange goes on
            self._connect_handler.decide(client, verdict, now, self._take_over, self._enter)

    def lost(self, client: Client, now: float) -> None:
        """Forget a connection that is closed."""
        self._time.advance(now)
        if client.state is not ConnectionState.CLOSED:
            self._replies.close(client, will=True)
        self._clients.discard(client)
        self._deadlines.forget(client)
        self._touched.pop(client, None)
        self._scheduler.leave(client)
        self._backpressure.leave(client)
        # its own routes and those of others may still refer to it
        client.out.clear()
        client.forget_routes()
        self.counters.connections = len(self._clients)

    def pause(self, client: Client) -> None:
        """Pause a client that reads more slowly than it is sent."""
        client.pause()
        if client.session is not None:
            client.session.pause()

    def resume(self, client: Client, now: float) -> None:
        """Resume a client that has caught up."""
        self._time.advance(now)
        client.resume()
        if client.session is not None:
            self._acks.pump(client, client.session)
        self._touched[client] = None

    def tick(self, now: float) -> None:
        """Run the periodic work; it is harmless to call this too often."""
        self._time.advance(now)
        self.log_limiter.tick(now)
        self._registry.tick(now)
        refused = self.counters.refused["not_stored"]
        if refused != self._not_stored:  # on a full disk expired messages make room
            self._not_stored = refused
            self._registry.drop_expired_messages(now)
        self._retained.store.judge(DOUBTS)
        self._retained.drop_expired(EXPIRIES, now)
        if self._sys_topics.is_due(now):
            for topic, payload in self._sys_topics.report(self.admin.count(), now):
                self._router.publish_own(topic, payload, now)
        self._deadlines.tick(now)

    def end_expired(self, wall: float, now: float) -> None:
        """Close the connections whose credentials have ended by the wall clock."""
        self._time.advance(now)
        self._deadlines.end_expired(wall)

    def publish(
        self, message: Message, now: float, *, stored: bool = True, done: Done | None = None
    ) -> None:
        """Publish a message of a local client; done is called with whether it is safe."""
        self._time.advance(now)
        self.counters.messages_received += 1
        self._router.publish(message, now=now, stored=stored, done=done)
        self._wake()

    def has_room(self, client_id: str, size_bytes: int, now: float) -> bool:
        """Return whether a session has room for one more message; True without a session."""
        session = self._registry.get(client_id)
        return session is None or session.has_room(size_bytes, now)

    def subscribe(self, receiver: Receiver, subscription: Subscription) -> None:
        """Add a local client's subscription."""
        self._subscriptions.subscribe(receiver, subscription)
        self.counters.subscriptions += 1

    def unsubscribe(self, receiver: Receiver, topic_filter: str) -> None:
        """Remove a local client's subscription."""
        self._subscriptions.unsubscribe(receiver, topic_filter)
        self.counters.subscriptions -= 1

    def retained(self, topic_filter: str, now: float) -> list[Message]:
        """Return the retained messages a filter matches."""
        retained = self._retained.store
        topics = [message.topic for message in retained.match(topic_filter)]
        found = [retained.get(topic) for topic in topics]
        return [each for each in found if each is not None and not each.is_expired(now)]

    def shut_down(self, now: float) -> None:
        """Publish the wills that are due, and close all connections."""
        self._time.advance(now)
        for session in self._registry:  # while their receivers are connected
            self._wills.publish_last(as_client(session.client), session, now)
        for client in tuple(self._clients):
            self._replies.end(client, Reason.SERVER_SHUTTING_DOWN)
        self._persistence.clock.note_end(now)

    def _apply_new_identity(self, client: Client) -> None:
        """Apply the rights and the expiry of a client that has re-authenticated."""
        self._invalidator.note_all()
        if client.session is not None:
            self._registry.drop_forbidden(client.session, self._time.now)
        self._deadlines.note_identity(client)

    def _set_reading(self, client: Client, *, waits: bool) -> None:
        # a client that does not read its answers is not read either
        unread = client.paused and sum(map(len, client.out)) > UNREAD_ANSWERS_BYTES
        reading_stopped = client.held or unread or waits
        client.set_reading(wanted=not reading_stopped)

    def _enter(self, client: Client) -> None:
        session = client.session
        assert session is not None  # it is online
        client.use_runs(self._runs)
        self._deadlines.note_identity(client)
        client.link.admitted()
        self._log_connected(client, session.client_id)
        self._acks.pump(client, session)  # [MQTT-3.2.0-1]

    def _touch(self, client: Outbound) -> None:
        self._touched[client] = None
        self._wake()

    def _take_over(self, client: Client) -> None:
        # [MQTT-3.1.4-3]; a delayed will is discarded when the session is resumed
        self._replies.end(client, Reason.SESSION_TAKEN_OVER)

    def _log_connected(self, client: Client, client_id: str) -> None:
        if self.log_limiter.may_log(client_id, "connected", COMINGS_AND_GOINGS):
            version = VERSIONS[client.version] + " (bridge)" * client.is_bridge
            where = (client.origin, client.listener)
            logger.info(
                "%r connected: user %r from %s on %s, %s", client_id, client.name, *where, version
            )
