"""The broker without sockets: connections in, bytes out. Builds its parts and keeps the time.

server.py calls open(), receive(), decide(), lost() and tick(), and after any of them
write_all(). wake() asks for a write_all() that none of these calls would bring.
"""

import logging
from collections.abc import Callable

from broker.admission import Admission
from broker.client import Client, Link, State
from broker.counters import Counters
from broker.dialog import Dialog
from broker.flow import Flow
from broker.limits import Limits
from broker.message import Message
from broker.packets import Subscription
from broker.policy import Authorizer, Identity, Refusal
from broker.reasons import Reason
from broker.registry import Registry
from broker.route import Receiver
from broker.router import Router

logger = logging.getLogger(__name__)

UNREAD_ANSWERS_BYTES = 65_536  # 16 384 PUBACKs


class Core:
    """All clients of one broker."""

    def __init__(
        self,
        authorizer: Authorizer,
        limits: Limits,
        wake: Callable[[], None],
        *,
        hot_path: bool = True,  # False: dialog.py handles every packet, to compare the two
    ) -> None:
        self.counters = Counters()
        self._limits = limits
        self._wake = wake
        self._clients: set[Client] = set()
        self._router = Router(authorizer, limits, self.counters)
        self._registry = Registry(self._router, limits, self.counters)
        self._admission = Admission(self._router, self._registry, limits, self.counters)
        self._dialog = Dialog(self._router, self._registry, self._admission, limits, wake)
        self._flow = Flow(self._router, self._dialog, self.counters)
        self._runs = self._flow.runs if hot_path else {}

    @property
    def has_output(self) -> bool:
        """Whether take_writes() has something to do."""
        return bool(self._router.touched)

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

    def write_all(self, now: float, *, in_between: bool = False) -> None:
        """Write what there is for every client touched, and do what that allows.

        Between two reads of one wake-up nobody's turn comes again.
        """
        self._dialog.now = now
        if not in_between:
            self._flow.wake_up()
        for client, output in self._flow.take_writes():
            if output:
                client.link.write(output)
            if client.state is State.CLOSED:
                client.link.close()
                continue
            if client.parts and not client.need and not client.held:  # it was held until now
                if in_between:
                    self._router.touched.add(client)
                else:
                    self._flow.receive(client, b"", now)
            session = client.session
            if session is not None and session.has_retained_to_send and not client.paused:
                self._dialog.acknowledged(client)
            waits = bool(client.parts) and not client.need  # its turn is over, or it is held
            if waits or client.held or client.paused or client.deaf:
                self._set_reading(client, waits=waits)

    def decide(self, client: Client, outcome: Identity | Refusal, now: float) -> None:
        """Take the authenticator's answer."""
        self._dialog.now = now
        if self._admission.decide(client, outcome, now, self._take_over):
            session = client.session
            assert session is not None  # it is in
            client.runs = self._runs
            logger.info("%r (%s) connected on %s", session.client_id, client.name, client.listener)
            self._dialog.pump(client, session)

    def lost(self, client: Client, now: float) -> None:
        """The connection is gone."""
        self._dialog.now = now
        if client.state is not State.CLOSED:
            if client.session is not None:
                logger.info("%r is gone", client.session.client_id)
            self._dialog.close(client, will=True)
        self._clients.discard(client)
        self._router.touched.discard(client)
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
        self._registry.tick(now)
        for client in tuple(self._clients):
            if client.deadline is not None:
                if now >= client.deadline:
                    self._time_out(client)
            elif _is_silent(client, now):
                self.counters.refuse("keep_alive_timeout")  # [MQTT-3.1.2-22]
                logger.info("closing a client: silent for more than %s s", client.keep_alive_s)
                self._dialog.end(client, Reason.KEEP_ALIVE_TIMEOUT)

    def publish(self, message: Message, now: float) -> None:
        """Publish what a local client says."""
        self._dialog.now = now
        self.counters.messages_received += 1
        self._router.publish(message, now)
        self._wake()

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
        found = self._router.retained.match(topic_filter)
        return [message for message in found if not message.is_expired(now)]

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

    def rights_changed(self) -> None:
        """Forget routes; drop subscriptions no longer allowed, and messages only they wanted."""
        self._router.changed()
        for session in self._registry:
            lost = [
                topic_filter
                for topic_filter in session.subscriptions
                if not self._router.may_subscribe(session.owner, topic_filter)
            ]
            for topic_filter in lost:
                del session.subscriptions[topic_filter]
                session.forget_retained(topic_filter)
                self._router.unsubscribe(session, topic_filter)
                self.counters.subscriptions -= 1
            if lost:
                session.drop_unwanted()

    def connected(self) -> frozenset[str]:
        """Return the identity names connected now."""
        return frozenset(client.name for client in self._clients if client.state is State.ONLINE)

    def shut_down(self, now: float) -> None:
        """Tell everybody that the broker stops."""
        self._dialog.now = now
        for client in tuple(self._clients):
            self._dialog.end(client, Reason.SERVER_SHUTTING_DOWN, will=False)

    def _set_reading(self, client: Client, *, waits: bool) -> None:
        # who makes us answer but does not read the answers is not heard until it does
        unread = client.paused and sum(map(len, client.out)) > UNREAD_ANSWERS_BYTES
        deaf = client.held or unread or waits
        if deaf != client.deaf:
            client.deaf = deaf
            client.link.set_reading(wanted=not deaf)

    def _take_over(self, client: Client) -> None:
        # [MQTT-3.1.4-3]; a delayed will is taken back by whoever goes on with the session
        self._dialog.end(client, Reason.SESSION_TAKEN_OVER)

    def _time_out(self, client: Client) -> None:
        if client.state is not State.CLOSED:
            self.counters.refuse("connect_timeout")
        client.link.abort()


def _is_silent(client: Client, now: float) -> bool:
    if not client.keep_alive_s or client.held:  # while it is held, the silence is ours
        return False
    return now - client.last_heard > client.keep_alive_s
