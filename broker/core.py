"""The broker without sockets: connections in, bytes out. Builds its parts and keeps the time.

server.py calls open(), receive(), decide(), lost() and tick(), and after any of them
write_all(). wake() asks for a write_all() that none of these calls would bring.
"""

import logging
from collections.abc import Callable

from broker.admission import Admission
from broker.client import CLOSED, Client, Link, State
from broker.counters import Counters
from broker.dialog import Dialog
from broker.durable import Ledger, Store
from broker.exactly_once import ExactlyOnce
from broker.flow import Flow
from broker.hooks import Hooks
from broker.journal.state import Image
from broker.limits import Limits
from broker.message import Message
from broker.packets import Subscription
from broker.policy import Authorizer, Identity, Step
from broker.reasons import Reason
from broker.registry import Registry
from broker.restoring import Restorer
from broker.retained_run import RetainedRun
from broker.route import Receiver
from broker.router import Done, Router
from broker.stored_run import StoredRun
from broker.story import COMINGS_AND_GOINGS, Story
from broker.sys_topics import Census, Reporting, SysTopics

logger = logging.getLogger(__name__)

VERSIONS = {3: "MQTT 3.1", 4: "MQTT 3.1.1", 5: "MQTT 5"}
DOUBTS = 1_000  # retained messages a tick, whose publishers' rights have changed: 10 ms
EXPIRIES = 2_000  # retained messages that expire in a tick: about 10 ms
UNREAD_ANSWERS_BYTES = 65_536  # 16 384 PUBACKs


class Core:
    """All clients of one broker."""

    def __init__(
        self,
        authorizer: Authorizer,
        limits: Limits,
        wake: Callable[[], None],
        store: Store | None = None,
        *,
        hot_path: bool = True,  # False: dialog.py handles every packet, to compare the two
        reporting: Reporting | None = None,  # in $SYS topics
    ) -> None:
        self.counters = Counters()
        self._limits = limits
        self._wake = wake
        self._clients: set[Client] = set()
        self._ending: set[Client] = set()  # whose credentials end
        self._not_stored = 0  # refusals, at the last tick
        self._ledger = Ledger(store, self._touch)
        self._router = Router(authorizer, limits, self.counters, self._ledger)
        self._registry = Registry(self._router, limits, self.counters)
        self._admission = Admission(self._router, self._registry, limits, self.counters)
        self._dialog = Dialog(
            self._router, self._registry, self._admission, limits, wake, self._renewed
        )
        self._flow = Flow(self._router, self._dialog, self.counters)
        self._sys_topics = SysTopics(self.counters, reporting or Reporting())
        exactly_once = ExactlyOnce(self._flow, self._router, self._dialog, limits)
        self._runs = {**self._flow.runs, **exactly_once.runs} if hot_path else {}
        if store is None and hot_path:
            self._runs |= RetainedRun(self._flow, self._router).runs
        elif store is not None:
            incoming, send = self._dialog.incoming, self._flow.send_qos1
            self._flow.stored_run = StoredRun(self._router, incoming, limits, send).run

    @property
    def has_output(self) -> bool:
        """Whether take_writes() has something to do."""
        router = self._router
        waits = router.touched or router.turns.is_anybody_waiting
        if waits or self._ledger.has_collected:
            return True
        return bool(router.backpressure.waiting) and router.backpressure.is_over

    @property
    def hooks(self) -> Hooks:
        """What the embedding program wants to be asked."""
        return self._router.hooks

    @property
    def story(self) -> Story:
        """Which lines of the log peers may still cause."""
        return self._router.story

    def restore(self, image: Image, now: float, wall: float, boot: str = "") -> None:
        """Take what the store holds; before the first connection.

        boot names the start of the machine since which the seconds are that now counts.
        """
        self._dialog.now = now
        self._ledger.start_clock(image.clock, now, wall, boot)
        Restorer(image, self._router, self._registry, self._limits, now).run()

    def note_wall(self, now: float, wall: float) -> None:
        """Take what the wall clock says; only the store, for the next start, needs to know."""
        self._ledger.note_wall(now, wall)

    def write_down(self) -> None:
        """Give the store what the reads of a wake-up have brought."""
        self._ledger.flush()

    def open(self, link: Link, listener: str, peer: str, now: float) -> Client | None:
        """Take a new connection; None when there are too many."""
        self.counters.connections_total += 1
        if len(self._clients) >= self._limits.connections:
            self.counters.refuse("connections")
            return None
        client = Client(link, listener, peer, self._limits.connect_bytes)
        client.deadline = now + self._limits.connect_timeout_s
        self._clients.add(client)
        self.counters.connections = len(self._clients)
        return client

    def receive(self, client: Client, data: bytes, now: float) -> None:
        """Take what one read brought."""
        self._dialog.now = now
        self._flow.receive(client, data, now)

    def open_room(self, client: Client) -> None:
        """Let the rest of an incomplete packet be read straight into its place."""
        self._flow.open_room(client)

    def grow(self, client: Client, size: int, now: float) -> None:
        """Take what was read there."""
        self._dialog.now = now
        self._flow.grow(client, size, now)

    def write_all(self, now: float, *, in_between: bool = False) -> None:
        """Write what there is for every client touched, and do what that allows.

        Between two reads of one wake-up nobody's turn comes again.
        """
        self._dialog.now = now
        turns = self._router.turns
        self._ledger.flush()
        if self._router.backpressure.waiting and not in_between:
            for client in self._router.backpressure.release(self._dialog.incoming.has_room):
                turns.wait(client)
                self._router.touched.add(client)
        for client, output in self._flow.take_writes():
            if output:
                client.link.write(output)
            if client.state is CLOSED:
                client.link.close()  # [MQTT-3.14.4-2] [MQTT-4.13.1-1]
                continue
            waits = bool(client.parts) and not client.need  # its turn is over, or it is held
            if waits and not client.held:
                turns.wait(client)
            if waits or client.held or client.paused or client.deaf:
                self._set_reading(client, waits=waits)
        if not in_between:
            for client in turns.wake_up():
                self._flow.go_on(client)

    def decide(self, client: Client, outcome: Identity | Step, now: float) -> None:
        """Take the authenticator's answer, or that of a method to a step."""
        self._dialog.now = now
        verdict = self._dialog.enhanced.answer(client, outcome)
        if verdict is not None:  # else it goes on
            self._admission.decide(client, verdict, now, self._take_over, self._enter)

    def lost(self, client: Client, now: float) -> None:
        """The connection is gone."""
        self._dialog.now = now
        if client.state is not State.CLOSED:
            self._dialog.close(client, will=True)
        self._clients.discard(client)
        self._ending.discard(client)
        self._router.touched.discard(client)
        self._router.turns.leave(client)
        self._router.backpressure.leave(client)
        # routes of others may still name it, and its own may name it as well
        client.out.clear()
        client.forget_routes()
        self.counters.connections = len(self._clients)

    def pause(self, client: Client) -> None:
        """The client takes less than it is sent."""
        client.paused = True
        if client.session is not None:
            client.session.pause()

    def resume(self, client: Client, now: float) -> None:
        """The client caught up."""
        self._dialog.now = now
        client.paused = False
        if client.session is not None:
            self._dialog.pump(client, client.session)
        self._router.touched.add(client)

    def tick(self, now: float) -> None:
        """Do what is due; harmless when nothing is."""
        self._dialog.now = now
        self._router.story.tick(now)
        self._registry.tick(now)
        refused = self.counters.refused["not_stored"]
        if refused != self._not_stored:  # on a full disk what has expired makes room, too
            self._not_stored = refused
            self._registry.drop_expired_messages(now)
        self._router.retained.judge(DOUBTS)
        self._router.drop_expired(EXPIRIES, now)
        if self._sys_topics.is_due(now):
            for topic, payload in self._sys_topics.report(self.count(), now):
                self._router.tell(topic, payload, now)
        for client in tuple(self._clients):
            if client.deadline is not None:
                if now >= client.deadline:
                    self._time_out(client)
            elif _is_silent(client, now):
                self.counters.refuse("keep_alive_timeout")  # [MQTT-3.1.2-22]
                text = f"silent for more than {client.keep_alive_s:g} s"
                self._dialog.end(client, Reason.KEEP_ALIVE_TIMEOUT, text)

    def end_expired(self, wall: float, now: float) -> None:
        """Close the connections whose credentials have ended by the wall clock."""
        self._dialog.now = now
        for client in tuple(self._ending):
            identity = client.identity
            if identity is None or identity.expires_at is None or client.state is State.CLOSED:
                self._ending.discard(client)
            elif identity.expires_at <= wall:
                self.counters.refuse("credentials_ended")
                logger.info("closing %r: the credentials of %s ended", client.label, client.name)
                self._dialog.end(client, Reason.MAXIMUM_CONNECT_TIME)

    def publish(
        self, message: Message, now: float, *, stored: bool = True, done: Done | None = None
    ) -> None:
        """Publish what a local client says; done is told whether it is safe."""
        self._dialog.now = now
        self.counters.messages_received += 1
        self._router.publish(message, now=now, stored=stored, done=done)
        self._wake()

    def has_room(self, client_id: str, size_bytes: int, now: float) -> bool:
        """Return whether a session takes one more message; True when there is none."""
        session = self._registry.get(client_id)
        return session is None or session.has_room(size_bytes, now)

    def subscribe(self, receiver: Receiver, subscription: Subscription) -> None:
        """Add a local client's subscription."""
        self._router.subscribe(receiver, subscription)
        self.counters.subscriptions += 1

    def unsubscribe(self, receiver: Receiver, topic_filter: str) -> None:
        """Remove a local client's subscription."""
        self._router.unsubscribe(receiver, topic_filter)
        self.counters.subscriptions -= 1

    def retained(self, topic_filter: str, now: float) -> list[Message]:
        """Return the retained messages a filter matches."""
        retained = self._router.retained
        topics = [message.topic for message in retained.match(topic_filter)]
        found = [retained.get(topic) for topic in topics]
        return [each for each in found if each is not None and not each.is_expired(now)]

    def disconnect(self, name: str, now: float) -> int:
        """Cut every connection of an identity, forget its sessions; return how many were cut."""
        self._dialog.now = now
        cut = 0
        for session in self._registry:
            if session.owner.name == name:
                session.expiry_s = 0.0
                if session.client is not None:
                    cut += 1
                    self._dialog.end(session.client, Reason.ADMINISTRATIVE_ACTION)
                else:
                    self._registry.end(session, now)
        self._wake()
        return cut

    def cut(self, name: str, now: float) -> int:
        """Cut every connection of an identity, whose sessions stay; return how many were cut."""
        self._dialog.now = now
        clients = [each.client for each in self._registry if each.owner.name == name]
        connected = [each for each in clients if each is not None]
        for client in connected:
            self._dialog.end(client, Reason.ADMINISTRATIVE_ACTION)
        self._wake()
        return len(connected)

    def revoke(self, name: str, now: float) -> int:
        """Disconnect an identity that is no more; what it left retained is forgotten."""
        cut = self.disconnect(name, now)
        self._router.forget_retained_of(name)
        return cut

    def rights_changed(self) -> None:
        """Forget routes; drop subscriptions no longer allowed, and messages only they wanted.

        A retained message stays only if who published it still may: checked before it is
        delivered again, and a few at every tick.
        """
        self._router.changes.note_all()
        self._router.retained.doubt()
        for session in self._registry:
            if not session.is_restored:  # else it is asked when its owner comes
                self._registry.drop_forbidden(session, self._dialog.now)

    def count(self) -> Census:
        """Count what is there now; takes a few milliseconds with 10,000 sessions."""
        sessions = tuple(self._registry)
        away = self._registry.away
        return Census(
            online=len(sessions) - away,
            away=away,
            waiting=sum(session.waiting for session in sessions),
            in_flight=sum(len(session.inflight.packets) for session in sessions),
            shared=self._router.count_shared(),
            retained_bytes=self._router.retained.size_bytes,
        )

    def connected(self) -> frozenset[str]:
        """Return the identity names connected now."""
        return frozenset(client.name for client in self._clients if client.state is State.ONLINE)

    def shut_down(self, now: float) -> None:
        """Publish the wills that are due, and tell everybody that the broker stops."""
        self._dialog.now = now
        for session in self._registry:  # while all are there to hear them
            self._registry.publish_last(session.client, session, now)
        for client in tuple(self._clients):
            self._dialog.end(client, Reason.SERVER_SHUTTING_DOWN)
        self._ledger.note_end(now)

    def _renewed(self, client: Client) -> None:
        """A client has re-authenticated: its rights and its end may be others."""
        self._router.changes.note_all()
        if client.session is not None:
            self._registry.drop_forbidden(client.session, self._dialog.now)
        self._note_end(client)

    def _note_end(self, client: Client) -> None:
        if client.identity is not None and client.identity.expires_at is not None:
            self._ending.add(client)

    def _set_reading(self, client: Client, *, waits: bool) -> None:
        # who makes us answer but does not read the answers is not heard until it does
        unread = client.paused and sum(map(len, client.out)) > UNREAD_ANSWERS_BYTES
        deaf = client.held or unread or waits
        if deaf != client.deaf:
            client.deaf = deaf
            client.link.set_reading(wanted=not deaf)

    def _enter(self, client: Client) -> None:
        session = client.session
        assert session is not None  # it is in
        client.runs = self._runs
        self._note_end(client)
        client.link.admitted()
        self._tell_connected(client, session.client_id)
        self._dialog.pump(client, session)  # [MQTT-3.2.0-1]

    def _touch(self, client: Client) -> None:
        self._router.touched.add(client)
        self._wake()

    def _take_over(self, client: Client) -> None:
        # [MQTT-3.1.4-3]; a delayed will is taken back by whoever goes on with the session
        self._dialog.end(client, Reason.SESSION_TAKEN_OVER)

    def _tell_connected(self, client: Client, client_id: str) -> None:
        if self._router.story.may_tell(client_id, "connected", COMINGS_AND_GOINGS):
            version = VERSIONS[client.version] + " (bridge)" * client.is_bridge
            where = (client.origin, client.listener)
            logger.info(
                "%r connected: user %r from %s on %s, %s", client_id, client.name, *where, version
            )

    def _time_out(self, client: Client) -> None:
        if client.state is State.ONLINE:
            self._dialog.enhanced.time_out(client)
            return
        if client.state is not State.CLOSED:
            self.counters.refuse("connect_timeout")
            if self._router.story.may_tell(client.peer, "connect_timeout"):
                seconds = self._limits.connect_timeout_s
                where = (client.origin, client.listener)
                logger.info("refused %s on %s: no CONNECT within %g s", *where, seconds)
        client.link.abort()


def _is_silent(client: Client, now: float) -> bool:
    if not client.keep_alive_s or client.held:  # while it is held, the silence is ours
        return False
    return now - client.last_heard > client.keep_alive_s  # [MQTT-3.1.2-22] [MQTT-3.2.2-22]
